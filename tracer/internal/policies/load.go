package policies

import (
	"errors"
	"fmt"
	"os"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/policydir"
)

// Load reads a policy file, or the files *.yaml, *.yml and *.json directly in a
// directory, in the order of their names, which is the order of rules. "" and an
// empty directory give no documents. Hidden files, as the "..data" of a mounted
// ConfigMap, are passed over. Nothing is loaded in part: the error joins all that
// is wrong, each with file and line. Strict, what KubeArmor would pass over is wrong,
// and so are two policies of one kind, namespace and name.
func Load(path string, strict bool) ([]spolicy.Document, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("loading policies: %w", err)
	}
	if info.IsDir() {
		d, err := Open(path, false, strict, nil)
		if err != nil {
			return nil, err
		}
		return d.Load()
	}
	docs, err := policydir.ReadFile(path, path, parser(strict))
	if err == nil && strict {
		err = errors.Join(duplicates(docs)...)
	}
	if err != nil {
		return nil, fmt.Errorf("loading policies: %w", err)
	}
	return docs, nil
}

func parser(strict bool) policydir.Read[[]spolicy.Document] {
	if strict {
		return spolicy.ParseStrict
	}
	return spolicy.Parse
}

// duplicates finds policies of one kind, namespace and name, of which only the last
// would count.
func duplicates(docs []spolicy.Document) (errs []error) {
	seen := map[key]string{}
	for i := range docs {
		d, k := &docs[i], keyOf(&docs[i])
		if origin, dup := seen[k]; dup {
			errs = append(errs, fmt.Errorf("%s: %s %s was already defined at %s", d.Origin, d.Kind, k, origin))
			continue
		}
		seen[k] = d.Origin
	}
	return errs
}
