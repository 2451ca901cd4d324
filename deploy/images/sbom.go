package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdx/v2/common"
)

// sbom lists, in SPDX 2.3, the modules that a program was built of. They are
// those that the linker wrote into it.
func sbom(path, program, version string) ([]byte, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the modules of %s: %w", path, err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	root := &spdx.Package{
		PackageName: "sidearmor/" + program, PackageSPDXIdentifier: "Package-" + common.ElementID(program), PackageVersion: version,
		PackageDownloadLocation: "NOASSERTION", PackageLicenseConcluded: "NOASSERTION", PackageLicenseDeclared: "Apache-2.0", PackageCopyrightText: "NOASSERTION",
		PackageChecksums: []common.Checksum{{Algorithm: common.SHA256, Value: digest}},
	}
	doc := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: program,
		DocumentNamespace: "urn:sidearmor:" + program + ":" + digest,
		CreationInfo:      &spdx.CreationInfo{Creators: []common.Creator{{CreatorType: "Tool", Creator: "deploy/images"}}, Created: epoch.Format("2006-01-02T15:04:05Z")},
		Packages:          []*spdx.Package{root},
		Relationships:     []*spdx.Relationship{relation("DOCUMENT", "DESCRIBES", string(root.PackageSPDXIdentifier))},
	}
	modules := []module{{"std", strings.TrimPrefix(info.GoVersion, "go")}}
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		modules = append(modules, module{d.Path, d.Version})
	}
	for _, m := range modules {
		p := m.spdx()
		doc.Packages = append(doc.Packages, p)
		doc.Relationships = append(doc.Relationships, relation(string(root.PackageSPDXIdentifier), "DEPENDS_ON", string(p.PackageSPDXIdentifier)))
	}
	var b bytes.Buffer
	if err := json.Write(doc, &b, json.Indent("  ")); err != nil {
		return nil, fmt.Errorf("write SPDX: %w", err)
	}
	return b.Bytes(), nil
}

// module is a Go module in a program.
type module struct{ path, version string }

func (m module) spdx() *spdx.Package {
	id := strings.Map(func(c rune) rune {
		if c == '-' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			return c
		}
		return '-'
	}, m.path+"-"+m.version)
	return &spdx.Package{
		PackageName: m.path, PackageSPDXIdentifier: common.ElementID("Module-" + id), PackageVersion: m.version,
		PackageDownloadLocation: "NOASSERTION", PackageLicenseConcluded: "NOASSERTION", PackageLicenseDeclared: "NOASSERTION", PackageCopyrightText: "NOASSERTION",
		PackageExternalReferences: []*spdx.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: "pkg:golang/" + m.path + "@" + m.version,
		}},
	}
}

func relation(from, kind, to string) *spdx.Relationship {
	return &spdx.Relationship{
		RefA: common.MakeDocElementID("", from), RefB: common.MakeDocElementID("", to), Relationship: kind,
	}
}
