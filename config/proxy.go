package config

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// proxyVariables are what Go's HTTP reads.
var proxyVariables = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"}

// checkProxies returns which proxies in environ cannot be used: Go passes them by without a word, to send credentials
// past them. Nothing of them is shown, since user and password may stand anywhere in what is broken.
func checkProxies(environ []string) Faults {
	var faults Faults
	for _, pair := range environ {
		// Blanks around it are not dropped, since Go does not.
		name, text, _ := strings.Cut(pair, "=")
		if text != "" && slices.Contains(proxyVariables, name) && !isProxy(text) {
			faults = append(faults, Fault{Name: name, Problem: "not the URL of a proxy; accepted: [http://][user:password@]host[:port], also with https, " +
				"socks5 or socks5h; a % and the like in a password escaped, as in %25"})
		}
	}
	return faults
}

func isProxy(text string) bool {
	bare := !strings.Contains(text, "://")
	if bare {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || bare && strings.Trim(u.Path, "/") != "" {
		return false
	}
	_, err = strconv.ParseUint(cmp.Or(u.Port(), "0"), 10, 16)
	return err == nil && u.Hostname() != "" && !strings.HasSuffix(u.Host, ":") && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}
