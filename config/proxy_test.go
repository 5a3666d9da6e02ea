package config

import (
	"slices"
	"strings"
	"testing"
)

// net/http ignores an invalid proxy and would send credentials without it.
func TestProxies(t *testing.T) {
	for value, good := range map[string]bool{
		"": true, "proxy": true, "proxy:3128": true, "10.0.0.1:3128": true, "[::1]:3128": true, "http://proxy:3128/": true, "HTTPS://proxy": true,
		"socks5://proxy:1080": true, "socks5h://u:p@proxy": true, "http://us:hu%25sh@proxy:3128": true, "us:hush@proxy:3128": true,
		"http://us:hu%zzsh@proxy:3128": false, "us:hu%zzsh@proxy:3128": false, "http://us:hu#sh@proxy:3128": false,
		"http://us:hu/sh@proxy:3128": false,
		"http://proxy:3128\n":        false, " http://proxy": false, " ": false,
		"us:hush": false, "http://proxy:no": false,
		"http:/proxy:3128": false,
		"http://":          false, "//proxy:3128": false, "http://:3128": false, ":3128": false,
		"http//proxy:3128": false, "http://us:hush@": false,
		"ftp://us:hush@proxy": false, "socks4://proxy": false, "htp://proxy:3128": false,
	} {
		for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
			environ := minimal(name + "=" + value)
			if good {
				mustLoad(t, environ)
				continue
			}
			faults := faultsOf(t, environ)
			if len(faults) != 1 || faults[0].Name != name || faults[0].Value != "" || !strings.Contains(faults[0].Problem, "; accepted: ") ||
				strings.Contains(faults.Error(), "hu") {
				t.Errorf("%s=%q: %q", name, value, faults)
			}
		}
	}
	mustLoad(t, minimal("NO_PROXY=10.0.0.0/99,:", "no_proxy=%zz", "ALL_PROXY=%zz"))
	if left := WithoutConnection([]string{"HTTPS_PROXY=ftp://x", "http_proxy=y", "A=b"}); !slices.Equal(left, []string{"A=b"}) {
		t.Errorf("a demo gets %q", left)
	}
}
