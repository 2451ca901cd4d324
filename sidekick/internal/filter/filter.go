// Package filter decides by a CEL expression (https://cel.dev) whether an output
// gets an event. It knows the fields of events; it neither reads configuration
// nor delivers.
package filter

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"

	"github.com/sidearmor/sidearmor/schema"
)

const (
	maxExpressionBytes = 16 << 10

	// costLimit ends the evaluation of an expression whose work grows with what a
	// workload writes into its events. One unit is some ten nanoseconds.
	costLimit = 1_000_000

	// placeRunes is how much of an expression an error repeats.
	placeRunes = 40
)

// Filter is a compiled expression. It may be used by several goroutines at once.
type Filter struct {
	program cel.Program
}

// Compile checks the syntax and the types of an expression over the variable
// event, which must yield a boolean. Its error says where in the expression each
// problem is.
func Compile(expression string) (*Filter, error) {
	if len(expression) > maxExpressionBytes {
		return nil, fmt.Errorf("expression has more than %d bytes", maxExpressionBytes)
	}
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("prepare expressions: %w", err)
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return nil, located(issues, expression)
	}
	if got := ast.OutputType(); !got.IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("expression must yield a boolean, not %s", got)
	}
	// Optimising compiles the constant regular expressions, so that a wrong one
	// shows now.
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(costLimit))
	if err != nil {
		return nil, fmt.Errorf("prepare expression: %w", err)
	}
	return &Filter{program: program}, nil
}

// Match evaluates the expression. An error, such as for a key that the event does
// not have or for a too expensive evaluation, says nothing about the event.
func (f *Filter) Match(e *schema.Event) (bool, error) {
	result, _, err := f.program.Eval(activation{e})
	if err != nil {
		return false, fmt.Errorf("evaluate: %w", err)
	}
	matches, ok := result.Value().(bool)
	if !ok {
		return false, fmt.Errorf("evaluate: got %T, not a boolean", result.Value())
	}
	return matches, nil
}

func environment() (*cel.Env, error) {
	types, err := newTypes()
	if err != nil {
		return nil, err
	}
	options := []cel.EnvOption{
		cel.CustomTypeProvider(types),
		cel.CustomTypeAdapter(types),
		cel.OptionalTypes(), // event.data[?"Flags"].orValue("")
		cel.Variable(variable, cel.ObjectType(typeName)),
		cel.ParserExpressionSizeLimit(maxExpressionBytes),
	}
	for p := schema.PriorityDebug; p <= schema.PriorityEmergency; p++ {
		options = append(options, cel.Constant(strings.ToLower(p.String()), cel.IntType, types.NativeToValue(int64(p))))
	}
	return cel.NewEnv(options...)
}

// located turns CEL's errors, which draw an arrow below the line, into one line.
func located(issues *cel.Issues, expression string) error {
	lines := strings.Split(expression, "\n")
	var texts []string
	for _, e := range issues.Errors() {
		line, column := e.Location.Line(), max(e.Location.Column(), 0)
		text := fmt.Sprintf("line %d, column %d: %s", line, column+1, strings.ReplaceAll(e.Message, "\n", " "))
		if line >= 1 && line <= len(lines) {
			if rest := from(lines[line-1], column); rest != "" {
				text += fmt.Sprintf(", at %q", rest)
			}
		}
		texts = append(texts, text)
	}
	return errors.New(strings.Join(texts, "; "))
}

// from gives what follows after so many runes, cut.
func from(line string, column int) string {
	for range column {
		_, size := utf8.DecodeRuneInString(line)
		line = line[size:]
	}
	runes := []rune(line)
	if len(runes) > placeRunes {
		return string(runes[:placeRunes]) + "…"
	}
	return line
}

// activation is the one variable that there is.
type activation struct{ event *schema.Event }

// ResolveName implements cel.Activation.
func (a activation) ResolveName(name string) (any, bool) {
	if name != variable {
		return nil, false
	}
	return a.event, true
}

// Parent implements cel.Activation.
func (activation) Parent() cel.Activation { return nil }
