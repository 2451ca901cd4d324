package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// grepLoad is a search through many small files, each of which is opened once.
func grepLoad(_ context.Context, b *bench, dir string) (*load, error) {
	text := []byte(strings.Repeat("the quick brown fox jumps over the lazy dog\n", 40))
	for d := range 100 {
		sub := filepath.Join(dir, "tree", fmt.Sprint(d))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return nil, err
		}
		for f := range 100 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(f)), text, 0o644); err != nil {
				return nil, err
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "tree", "needle"), []byte("needle\n"), 0o644); err != nil {
		return nil, err
	}
	return commandIn("grep", "-r", "needle", "tree")(b, dir), nil
}

func commandIn(command ...string) func(b *bench, dir string) *load {
	return func(b *bench, dir string) *load {
		return &load{run: func(ctx context.Context, a *arm) ([]float64, error) { return b.timed(ctx, a, dir, command...) }}
	}
}

// imports are twenty modules of Python's library.
const imports = "argparse, asyncio, collections, csv, datetime, decimal, email.message, hashlib, html.parser, http.client, " +
	"json, logging.config, multiprocessing, pathlib, random, sqlite3, subprocess, unittest, urllib.request, xml.etree.ElementTree"

func pythonLoad(ctx context.Context, b *bench, dir string) (*load, error) {
	python, err := interpreter(ctx, "python3", "-c", "import sys; print(sys.executable)")
	if err != nil {
		return nil, err
	}
	return commandIn(python, "-c", "import "+imports)(b, dir), nil
}

func nodeLoad(ctx context.Context, b *bench, dir string) (*load, error) {
	node, err := interpreter(ctx, "node", "-p", "process.execPath")
	if err != nil {
		return nil, err
	}
	const script = `for (const m of ["fs", "http", "https", "crypto", "zlib", "url", "stream", "worker_threads", "child_process", "readline"]) require(m);
require("fs").readdirSync("/etc").forEach(f => { try { require("fs").readFileSync("/etc/" + f) } catch (e) {} });`
	return commandIn(node, "-e", script)(b, dir), nil
}

// gccLoad compiles fifty files, each with two processes of its own.
func gccLoad(_ context.Context, b *bench, dir string) (*load, error) {
	command := []string{"gcc", "-O1", "-c"}
	for i := range 50 {
		name := fmt.Sprintf("f%d.c", i)
		text := fmt.Sprintf("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint f%d(int n) {\n  for (int i = 0; i < n; i++) printf(\"%%d\\n\", i * %d);\n  return abs(n);\n}\n", i, i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
		command = append(command, name)
	}
	return commandIn(command...)(b, dir), nil
}

// goLoad compiles twenty packages, which differ from run to run, and links them.
func goLoad(_ context.Context, b *bench, dir string) (*load, error) {
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/bench\n\ngo 1.21\n"), 0o644); err != nil {
		return nil, err
	}
	n := os.Getpid() << 16 // no run finds its packages in the cache
	return &load{run: func(ctx context.Context, a *arm) ([]float64, error) {
		n++
		if err := writeModule(dir, n); err != nil {
			return nil, err
		}
		return b.timed(ctx, a, dir, "go", "build", "-o", "program", ".")
	}}, nil
}

func writeModule(dir string, n int) error {
	var imports, uses strings.Builder
	for p := range 20 {
		var text strings.Builder
		fmt.Fprintf(&text, "package p%d\n\nimport \"strings\"\n\nconst N = %d\n", p, n)
		for f := range 30 {
			fmt.Fprintf(&text, "\nfunc F%d(s string) int {\n\tfor i := range []byte(s) {\n\t\tif strings.HasPrefix(s[i:], \"x\") {\n\t\t\treturn i + N\n\t\t}\n\t}\n\treturn len(s)\n}\n", f)
		}
		sub := filepath.Join(dir, fmt.Sprintf("p%d", p))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(sub, "p.go"), []byte(text.String()), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&imports, "\t\"example.com/bench/p%d\"\n", p)
		fmt.Fprintf(&uses, "\tfmt.Println(p%d.F0(\"x\"))\n", p)
	}
	text := "package main\n\nimport (\n\t\"fmt\"\n" + imports.String() + ")\n\nfunc main() {\n" + uses.String() + "}\n"
	return os.WriteFile(filepath.Join(dir, "main.go"), []byte(text), 0o644)
}
