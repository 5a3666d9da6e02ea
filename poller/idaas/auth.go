package idaas

import (
	"encoding/base64"
	"errors"
	"net/url"
)

// Auth is how the exporter's machine client proves who it is; unused with a ready access token.
type Auth struct {
	Method   string // one of Methods
	ClientID string
	Secret   Credential
	Scope    string
}

// grant is one request for an access token, ready to be sent.
type grant struct {
	form    url.Values
	basic   string   // credentials of the Authorization header, if any
	secrets []string // what must not be shown of all this
}

func (g *grant) scrubber() scrubber {
	hide := scrubber{}.hide(g.basic, "[secret]")
	for _, s := range g.secrets {
		hide = hide.hide(s, "[secret]")
	}
	return hide
}

// A method adds to a grant what proves the client's identity at endpoint.
type method func(a *Auth, endpoint string, g *grant) error

var methods = map[string]method{
	"client_secret_post":  clientSecretPost,
	"client_secret_basic": clientSecretBasic,
}

// grant makes the form that every method shares and has the configured one complete it.
func (c *Client) grant(endpoint string) (*grant, error) {
	add, ok := methods[c.auth.Method]
	if !ok {
		return nil, errors.New("unknown authentication method " + c.auth.Method)
	}
	g := &grant{form: url.Values{
		"client_id":  {c.auth.ClientID},
		"grant_type": {"client_credentials"},
		"scope":      {c.auth.Scope},
	}}
	return g, add(&c.auth, endpoint, g)
}

func clientSecretPost(a *Auth, _ string, g *grant) error {
	secret, err := a.Secret.read()
	g.form.Set("client_secret", secret)
	g.secrets = []string{secret}
	return err
}

// clientSecretBasic does not URL-escape the two parts, as RFC 6749 has it: the vendor's SDKs do not.
func clientSecretBasic(a *Auth, _ string, g *grant) error {
	secret, err := a.Secret.read()
	g.basic = base64.StdEncoding.EncodeToString([]byte(a.ClientID + ":" + secret))
	g.secrets = []string{secret}
	return err
}
