package filter

import (
	"encoding/json"
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/sidearmor/sidearmor/schema"
)

const (
	variable = "event"
	typeName = "sidearmor.Event" // unlike the variable's, so that neither hides the other
)

// eventTypes tells CEL what an event is. A field is read when an expression asks
// for it: no event is turned into a map first.
type eventTypes struct {
	*types.Registry
	fields map[string]field
}

func newTypes() (*eventTypes, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	return &eventTypes{Registry: registry, fields: fields()}, nil
}

// FindStructType implements types.Provider.
func (t *eventTypes) FindStructType(name string) (*types.Type, bool) {
	if name == typeName {
		return types.NewTypeTypeWithParam(cel.ObjectType(typeName)), true
	}
	return t.Registry.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (t *eventTypes) FindStructFieldNames(name string) ([]string, bool) {
	if name != typeName {
		return t.Registry.FindStructFieldNames(name)
	}
	var names []string
	for field := range t.fields {
		names = append(names, field)
	}
	slices.Sort(names)
	return names, true
}

// FindStructFieldType implements types.Provider.
func (t *eventTypes) FindStructFieldType(name, key string) (*types.FieldType, bool) {
	if name != typeName {
		return t.Registry.FindStructFieldType(name, key)
	}
	f, ok := t.fields[key]
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type: f.kind,
		GetFrom: func(target any) (any, error) {
			e, ok := target.(*schema.Event)
			if !ok {
				return nil, fmt.Errorf("%s: not a field of a %T", key, target)
			}
			return f.get(e), nil
		},
		IsSet: func(target any) bool {
			e, ok := target.(*schema.Event)
			return ok && isSet(f.get(e))
		},
	}, true
}

// NewValue implements types.Provider: expressions make no events.
func (t *eventTypes) NewValue(name string, values map[string]ref.Val) ref.Val {
	if name == typeName {
		return types.NewErr("%s cannot be made", typeName)
	}
	return t.Registry.NewValue(name, values)
}

// NativeToValue implements types.Adapter. Falco's output fields may be numbers of
// any size, which were read without loss.
func (t *eventTypes) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return types.Int(n)
		}
		if n, err := v.Float64(); err == nil {
			return types.Double(n)
		}
		return types.String(v.String())
	case map[string]any:
		return types.NewStringInterfaceMap(t, v)
	case []any:
		return types.NewDynamicList(t, v)
	}
	return t.Registry.NativeToValue(value)
}
