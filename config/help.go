package config

import (
	_ "embed" // the usage
	"fmt"
	"io"
	"strings"
)

//go:embed help.txt
var usage string

// Help writes the commands, and every setting with its default, meaning and what it accepts, for a terminal of 100
// columns.
func Help(w io.Writer) {
	var b strings.Builder
	b.WriteString(usage)
	for _, s := range settings() {
		fmt.Fprintf(&b, "%s  (default %s)\n    %s\n    accepts %s\n", s.name, s.fallback, s.help, s.accepts)
	}
	_, _ = io.WriteString(w, strings.NewReplacer("  (default )", "", "'", "").Replace(b.String()))
}
