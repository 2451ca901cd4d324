// Package demo holds demo.sh and its tests, and the tests that keep the tables of
// docs/ true to the built programs. There is no Go code to import here.
package demo
