package config

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong with the settings.
type Fault struct {
	// Name is the variable, or file:line in the targets file.
	Name string
	// Value is what was given; empty when nothing was or when it must not be shown.
	Value string
	// Problem says what is wrong with it.
	Problem string
	// Accepts says what would be right, where Problem does not.
	Accepts string
}

// String returns the fault in one line; the value is quoted, so that it cannot break the line.
func (f Fault) String() string {
	text := f.Name
	if f.Value != "" {
		text += fmt.Sprintf("=%q", f.Value)
	}
	text += ": " + f.Problem
	if f.Accepts != "" {
		text += "; accepted: " + f.Accepts
	}
	return text
}

// Faults is everything found wrong at once; as an error it is never empty.
type Faults []Fault

// Error lists the faults, one per line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}
