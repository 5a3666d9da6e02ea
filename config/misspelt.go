package config

import (
	"regexp"
	"slices"
	"strings"
)

// misspelt returns the IDAAS_ variables that are no settings, each with the nearest setting. Those in use otherwise are
// left out, and what Kubernetes injects for a service whose name begins with idaas.
func misspelt(environ, inUse []string) Faults {
	injected := regexp.MustCompile(`^\w*_SERVICE_(HOST|PORT\w*)=|^\w*_PORT(=\w+://|_\d+_(TCP|UDP|SCTP))`)
	all := settings()
	var faults Faults
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "IDAAS_") || strings.TrimSpace(value) == "" || injected.MatchString(pair) {
			continue
		}
		nearest := slices.MinFunc(all, func(a, b setting) int { return distance(name, a.name) - distance(name, b.name) }).name
		if nearest != name && !slices.Contains(inUse, name) {
			faults = append(faults, Fault{Name: name, Problem: "not a setting; did you mean " + nearest + "?"})
		}
	}
	return faults
}

// distance counts the bytes to insert, delete or replace to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
