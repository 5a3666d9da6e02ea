package poller

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ParseEndpoint returns text as scheme://host[:port], with /path if withPath is set. The default scheme is https; http is for loopback
// hosts only, so credentials are never sent in clear text. The error does not contain text, which may have a password.
func ParseEndpoint(text string, withPath bool) (string, error) {
	text = strings.TrimRight(text, "/")
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", errors.New("not a URL")
	}
	_, portErr := strconv.ParseUint(u.Port(), 10, 16)
	loopback := strings.EqualFold(u.Hostname(), "localhost")
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		loopback = ip.IsLoopback()
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return "", errors.New("neither https nor http")
	case u.Hostname() == "":
		return "", errors.New("no host")
	case strings.HasSuffix(u.Host, ":"), u.Port() != "" && portErr != nil:
		return "", errors.New("bad port")
	case u.User != nil:
		return "", errors.New("user and password are not allowed")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return "", errors.New("query and fragment are not allowed")
	case u.Scheme == "http" && !loopback:
		return "", errors.New("http:// is allowed for a loopback host only: credentials would travel in clear")
	case withPath && u.Path == "":
		return "", errors.New("no path")
	case !withPath && u.Path != "":
		return "", errors.New("a path is not allowed")
	}
	return u.String(), nil
}
