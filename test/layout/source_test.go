package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Sizes beyond which code is split. golangci-lint complains about functions
// earlier; these are the bounds without exceptions.
const (
	maxFileLines     = 400
	maxFunctionLines = 80
	maxMainLines     = 15
)

// source is one Go file of ours, parsed.
type source struct {
	path string // relative to the repository
	fset *token.FileSet
	file *ast.File
}

func (s *source) line(p token.Pos) int { return s.fset.Position(p).Line }
func (s *source) isTest() bool         { return strings.HasSuffix(s.path, "_test.go") }

func (s *source) lines() int {
	return s.fset.File(s.file.Pos()).LineCount()
}

func TestSourceShape(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || ast.IsGenerated(s.file) {
			continue
		}
		if n := s.lines(); n > maxFileLines {
			t.Errorf("%s: %d lines, at most %d", s.path, n, maxFileLines)
		}
		if filepath.Base(s.path) == "main.go" && s.lines() > maxMainLines && !strings.Contains(s.path, "testdata/") {
			t.Errorf("%s: %d lines, at most %d: main only calls run", s.path, s.lines(), maxMainLines)
		}
		switch name := s.file.Name.Name; name {
		case "utils", "util", "common", "helpers", "helper", "types", "misc":
			t.Errorf("%s: package %s is named for nothing that it does", s.path, name)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s:%d: init function: what runs must be called", s.path, s.line(f.Pos()))
			}
			if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > maxFunctionLines {
				t.Errorf("%s:%d: %s has %d lines, at most %d", s.path, s.line(f.Pos()), f.Name.Name, n, maxFunctionLines)
			}
		}
	}
}

// Each package says in its comment what it is for.
func TestPackageDocs(t *testing.T) {
	docs := map[string]string{}
	for _, s := range sources(t) {
		dir := filepath.Dir(s.path)
		if _, known := docs[dir]; !known {
			docs[dir] = ""
		}
		if s.file.Doc != nil && !strings.HasSuffix(s.file.Name.Name, "_test") {
			docs[dir] += s.file.Doc.Text()
		}
	}
	for dir, doc := range docs {
		if strings.Contains(dir, "testdata") {
			continue
		}
		if len(strings.Fields(doc)) < 8 {
			t.Errorf("%s: the package comment does not say what is here and what is not (%q)", dir, doc)
		}
	}
}

// In CI everything that a test may need is there, so a test may skip only after
// it has looked whether it runs there: a skip in CI would be a hole in it.
func TestSkipsLookAtCI(t *testing.T) {
	for _, s := range sources(t) {
		if !s.isTest() {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil || strings.HasPrefix(f.Name.Name, "Fuzz") || mentionsCI(f) {
				continue
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && isSkip(call) {
					t.Errorf(`%s:%d: skips without a look at os.Getenv("CI"): where that is "true" it must fail`, s.path, s.line(call.Pos()))
				}
				return true
			})
		}
	}
}

func isSkip(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	on, ok := sel.X.(*ast.Ident)
	return ok && (on.Name == "t" || on.Name == "b" || on.Name == "tb") && strings.HasPrefix(sel.Sel.Name, "Skip")
}

func mentionsCI(f *ast.FuncDecl) bool {
	found := false
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			found = found || n.Value == `"CI"`
		case *ast.SelectorExpr:
			found = found || n.Sel.Name == "Short"
		}
		return !found
	})
	return found
}

func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	for _, path := range files(t) {
		if filepath.Ext(path) != ".go" {
			continue
		}
		s := &source{path: path, fset: token.NewFileSet()}
		var err error
		s.file, err = parser.ParseFile(s.fset, filepath.Join(root, path), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}
