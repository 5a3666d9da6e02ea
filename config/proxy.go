package config

import (
	"net/url"
	"slices"
	"strings"
)

// proxyVariables are the variables that net/http reads.
var proxyVariables = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"}

// checkProxies returns a fault for each invalid proxy in environ: net/http would ignore it and send credentials without the proxy.
// The value is not shown, because an invalid URL may have user and password anywhere.
func checkProxies(environ []string) Faults {
	var faults Faults
	for _, pair := range environ {
		// Spaces are not removed, as in net/http.
		name, text, _ := strings.Cut(pair, "=")
		if text != "" && slices.Contains(proxyVariables, name) && !isProxy(text) {
			faults = append(faults, Fault{Name: name, Problem: "not the URL of a proxy; accepted: [http://][user:password@]host[:port], also " +
				"with https, socks5 or socks5h; special characters of a password percent-encoded, such as %25"})
		}
	}
	return faults
}

func isProxy(text string) bool {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	return err == nil && u.Hostname() != "" && strings.Trim(u.Path, "/") == "" &&
		slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}
