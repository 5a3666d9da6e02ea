package config

import (
	"slices"
	"strings"
	"testing"
)

// Go passes a proxy that it does not understand by, to send credentials past it.
func TestProxies(t *testing.T) {
	for value, want := range map[string]string{
		"": "", "proxy": "", "proxy:3128": "", "10.0.0.1:3128": "", "[::1]:3128": "", "http://proxy:3128/": "", "HTTPS://proxy": "", "socks5://proxy:1080": "", "socks5h://u:p@proxy": "",
		"http://us:hu%25sh@proxy:3128": "", "us:hush@proxy:3128": "",
		"http://us:hu%zzsh@proxy:3128": "not a URL", "us:hu%zzsh@proxy:3128": "not a URL", "http://proxy:3128\n": "not a URL", " http://proxy": "not a URL", " ": "not a URL",
		"http://us:hu#sh@proxy:3128": "not a URL", "http://us:hu/sh@proxy:3128": "not a URL", "us:hush": "not a URL", "http://proxy:": "bad port", "http://proxy:99999": "bad port", "http:/proxy:3128": "no host",
		"http://": "no host", "//proxy:3128": "no host", "http://:3128": "no host", ":3128": "no host", "http//proxy:3128": "no host", "http://us:hush@": "no host",
		"ftp://us:hush@proxy": "an unknown scheme", "socks4://proxy": "an unknown scheme", "htp://proxy:3128": "an unknown scheme",
	} {
		for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
			environ := minimal(name + "=" + value)
			if want == "" {
				mustLoad(t, environ)
				continue
			}
			faults := faultsOf(t, environ)
			if len(faults) != 1 || faults[0].Name != name || faults[0].Value != "" || !strings.HasPrefix(faults[0].Problem, want) ||
				!strings.Contains(faults[0].Problem, "; accepted: ") || strings.Contains(faults.Error(), "hu") {
				t.Errorf("%s=%q: %q", name, value, faults)
			}
		}
	}
	mustLoad(t, minimal("HTTPS_PROXY=proxy", "https_proxy=ftp://x", "NO_PROXY=10.0.0.0/99,:", "no_proxy=%zz"))
	wantFaults(t, faultsOf(t, minimal("HTTP_PROXY=", "http_proxy=ftp://x", "HTTPS_PROXY=ftp://x")),
		"http_proxy: an unknown scheme; accepted: [http://][user:password@]host[:port], also with https, socks5 or socks5h",
		"HTTPS_PROXY: an unknown scheme; accepted: [http://][user:password@]host[:port], also with https, socks5 or socks5h")
	if left := WithoutConnection([]string{"HTTPS_PROXY=ftp://x", "http_proxy=y", "A=b"}); !slices.Equal(left, []string{"A=b"}) {
		t.Errorf("a demo gets %q", left)
	}
}
