package config

import (
	"fmt"
	"io"
	"strings"
)

const usage = `Usage: idaas-token-exporter [command]

Commands:
  serve          poll on a schedule and serve /metrics (the default)
  demo           the same with a simulated IDaaS and made-up tokens: no account needed
  check [-json]  look at settings, access token and the first pages of every target, and say what
                 to do
  once [FILE]    poll once and write the metrics to standard output or, atomically, into FILE
  version        print the version
  help           print this

Settings, from the environment:

`

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
