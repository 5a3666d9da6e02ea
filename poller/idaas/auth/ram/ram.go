// Package ram finds RAM credentials in the sources of the vendor's SDKs, and signs requests to Alibaba Cloud's OpenAPI with them.
package ram

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Credentials are an access key or, with a token, a session.
type Credentials struct {
	ID, Secret, Token string
	Expires           time.Time // of a session; zero: unknown
	Source            string    // where they were found, for messages
}

// Key returns the access key id, shortened.
func (c Credentials) Key() string {
	n := len(c.ID)
	return c.ID[:min(6, n/3)] + "…" + c.ID[n-min(4, n/4):]
}

// complete returns c, or an error if requests cannot be signed with it. A session needs a token.
func (c Credentials) complete(session bool) (Credentials, error) {
	switch {
	case c.ID == "" || c.Secret == "":
		return c, errors.New("access key id or secret missing")
	case session && c.Token == "":
		return c, errors.New("security token missing")
	case strings.ContainsFunc(c.ID+c.Secret+c.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return c, errors.New("access key or token with characters that RAM credentials never have")
	}
	return c, nil
}

// parse decodes a response of STS, the metadata service or a credentials URI.
func parse(body []byte, err error) (Credentials, error) {
	if err != nil {
		return Credentials{}, err
	}
	type session struct{ Code, AccessKeyID, AccessKeySecret, SecurityToken, Expiration string }
	var r struct {
		session
		Credentials session // of STS
	}
	if json.Unmarshal(body, &r) != nil {
		return Credentials{}, errors.New("response is not JSON with credentials")
	}
	s := cmp.Or(r.Credentials, r.session)
	expires, err := time.Parse(time.RFC3339, s.Expiration)
	switch {
	case s.Code != "" && s.Code != "Success":
		err = errors.New("response with a Code other than Success")
	case err != nil:
		err = errors.New("response without an Expiration in RFC 3339")
	case !expires.After(time.Now()):
		err = fmt.Errorf("session expired at %s", s.Expiration)
	default:
		return Credentials{ID: s.AccessKeyID, Secret: s.AccessKeySecret, Token: s.SecurityToken, Expires: expires}.complete(true)
	}
	return Credentials{}, err
}

// Sign makes req, which has no body, a signed call of action. It returns the secret parts of req.
func (c Credentials) Sign(req *http.Request, action, version string) (secrets []string) {
	req.URL.RawQuery = strings.NewReplacer("+", "%20", "*", "%2A").Replace(req.URL.RawQuery)
	bodySum := fmt.Sprintf("%x", sha256.Sum256(nil))
	headers := map[string]string{
		"host": req.URL.Host, "x-acs-action": action, "x-acs-version": version, "x-acs-content-sha256": bodySum,
		"x-acs-date": time.Now().UTC().Format(time.RFC3339), "x-acs-signature-nonce": rand.Text(),
	}
	if c.Token != "" {
		headers["x-acs-accesskey-id"], headers["x-acs-security-token"] = c.ID, c.Token
	}
	names, lines := slices.Sorted(maps.Keys(headers)), ""
	for _, name := range names {
		req.Header.Set(name, headers[name])
		lines += name + ":" + headers[name] + "\n"
	}
	req.Header.Del("host")
	const algorithm = "ACS3-HMAC-SHA256"
	signed := strings.Join(names, ";")
	request := strings.Join([]string{req.Method, "/", req.URL.RawQuery, lines, signed, bodySum}, "\n")
	mac := hmac.New(sha256.New, []byte(c.Secret))
	fmt.Fprintf(mac, "%s\n%x", algorithm, sha256.Sum256([]byte(request)))
	signature := fmt.Sprintf("%x", mac.Sum(nil))
	req.Header.Set("Authorization", algorithm+" Credential="+c.ID+",SignedHeaders="+signed+",Signature="+signature)
	return []string{c.Secret, c.Token, signature}
}
