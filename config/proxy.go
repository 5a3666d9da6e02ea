package config

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// proxyVariables are what Go's HTTP reads, of each pair the first one that is set.
var proxyVariables = [][2]string{{"HTTP_PROXY", "http_proxy"}, {"HTTPS_PROXY", "https_proxy"}}

// checkProxies returns which proxies in environ cannot be used: Go passes them by without a word, to send credentials
// past them. Nothing of them is shown, since user and password may stand anywhere in what is broken.
func checkProxies(environ []string) Faults {
	given := make(map[string]string)
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		given[name] = value
	}
	var faults Faults
	for _, names := range proxyVariables {
		name := names[0]
		if given[name] == "" {
			name = names[1]
		}
		if problem := proxyProblem(given[name]); problem != "" {
			faults = append(faults, Fault{Name: name, Problem: problem + "; accepted: [http://][user:password@]host[:port], also with https, socks5 or socks5h"})
		}
	}
	return faults
}

// proxyProblem reads text as Go does, which is why blanks around it are not dropped.
func proxyProblem(text string) string {
	if text == "" {
		return ""
	}
	guessed := !strings.Contains(text, "://")
	if guessed {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "not a URL; a % and other special characters of a password are to be escaped, as in %25"
	}
	_, portErr := strconv.ParseUint(cmp.Or(u.Port(), "0"), 10, 16)
	switch {
	case !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme):
		return "an unknown scheme"
	case u.Hostname() == "" || guessed && strings.Trim(u.Path, "/") != "":
		return "no host"
	case strings.HasSuffix(u.Host, ":") || portErr != nil:
		return "bad port"
	}
	return ""
}
