// Package auth authenticates the exporter at the token endpoint of IDaaS, with one of several methods.
package auth

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth/ram"
)

// Identity has the credentials of the exporter's machine client. It is not used with a ready access token.
type Identity struct {
	Method              string
	ClientID            string
	Secret              Credential // for client_secret_*
	PrivateKey          Credential // PEM, for private_key_jwt and pca
	KeyID               string     // optional kid, for private_key_jwt
	IDToken             Credential // for oidc
	Document            Credential // for pkcs7; if not given, it is requested from the ECS metadata service
	Certificate         Credential // PEM, for pca: that of the private key
	Chain               Credential // PEM, for pca: the certificates between it and the root
	FederatedCredential string     // name, for oidc, pkcs7 and pca
	Scope               string
	Metadata            http.RoundTripper // for the ECS metadata service; nil: no proxy
}

// Grant is the content of one request for an access token.
type Grant struct {
	Form    url.Values
	Basic   string   // credentials of the Authorization header, if any
	Secrets []string // the secret parts

	endpoint, instance string
	send               ram.Send
	files              string // contents of the files read, or the errors
}

func (g *Grant) secret(text string) { g.Secrets = append(g.Secrets, text) }

// Renewed reports whether the files of g have other contents than for used.
func (g *Grant) Renewed(used *Grant) bool { return g.files != used.files }

// FromFiles reports whether g has contents of files.
func (g *Grant) FromFiles() bool { return g.files != "" }

// read reads a credential with one of its methods, and records the contents of its file.
func (g *Grant) read(ctx context.Context, c Credential, read func(Credential, context.Context) (string, error)) (string, error) {
	text, err := read(c, ctx)
	if c.File != "" {
		g.files += fmt.Sprintln(text, err)
	}
	return text, err
}

const (
	jwtAssertion     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	idTokenAssertion = "urn:cloud:idaas:params:oauth:client-assertion-type:id-token-bearer"
	pkcs7Assertion   = "urn:cloud:idaas:params:oauth:client-assertion-type:pkcs7-bearer"
	x509Assertion    = "urn:cloud:idaas:params:oauth:client-assertion-type:x509-jwt-bearer"

	// assertionLife is that of the vendor's CLI.
	assertionLife = 5 * time.Minute
)

// Grant returns a request for the token endpoint of an instance, by the configured method. All files are read again. Errors contain no
// secret. With an error, it returns an incomplete Grant.
func (a *Identity) Grant(ctx context.Context, instance, endpoint string, send ram.Send) (*Grant, error) {
	g := &Grant{
		Form:     url.Values{"client_id": {a.ClientID}, "grant_type": {"client_credentials"}, "scope": {a.Scope}},
		endpoint: endpoint, instance: instance, send: send,
	}
	complete := MethodOf(a.Method).complete
	if complete == nil {
		return g, errors.New("unknown authentication method " + a.Method)
	}
	return g, complete(ctx, a, g)
}

func clientSecretPost(_ *Identity, secret string, g *Grant) error {
	g.Form.Set("client_secret", secret)
	return nil
}

// clientSecretBasic does not URL-escape the two parts, unlike RFC 6749 and like the vendor's SDKs.
func clientSecretBasic(a *Identity, secret string, g *Grant) error {
	g.Basic = base64.StdEncoding.EncodeToString([]byte(a.ClientID + ":" + secret))
	g.secret(g.Basic)
	return nil
}

func clientSecretJWT(a *Identity, secret string, g *Grant) error {
	assertion, err := g.sign(a, jwt.SigningMethodHS256, []byte(secret), "")
	g.assert(jwtAssertion, assertion)
	return err
}

func privateKeyJWT(ctx context.Context, a *Identity, g *Grant) error {
	method, key, err := g.signingKey(ctx, a)
	if err != nil {
		return err
	}
	assertion, err := g.sign(a, method, key, a.KeyID)
	g.assert(jwtAssertion, assertion)
	return err
}

// assert adds an assertion of a type.
func (g *Grant) assert(assertionType, assertion string) {
	g.Form.Set("client_assertion_type", assertionType)
	g.Form.Set("client_assertion", assertion)
}

// sign returns an assertion with the claims that the vendor's SDKs send.
func (g *Grant) sign(a *Identity, method jwt.SigningMethod, key any, kid string) (string, error) {
	now := time.Now()
	token := jwt.NewWithClaims(method, jwt.MapClaims{
		"iss": a.ClientID, "sub": a.ClientID, "aud": g.endpoint, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if kid != "" {
		token.Header["kid"] = kid
	}
	assertion, err := token.SignedString(key)
	g.secret(assertion)
	return assertion, err
}

// signingKey reads the PEM private key. The hash depends on the size or curve of the key, as in the vendor's SDK. Errors contain
// nothing of the key.
func (g *Grant) signingKey(ctx context.Context, a *Identity) (jwt.SigningMethod, crypto.Signer, error) {
	text, err := g.read(ctx, a.PrivateKey, Credential.Read)
	if err != nil {
		return nil, nil, err
	}
	g.secret(text)
	blocks := pemBlocks(text)
	i := slices.IndexFunc(blocks, func(b *pem.Block) bool { return strings.HasSuffix(b.Type, "PRIVATE KEY") })
	if i < 0 {
		return nil, nil, errors.New("the private key: no PEM block PRIVATE KEY")
	}
	block := pem.EncodeToMemory(blocks[i])
	if key, err := jwt.ParseRSAPrivateKeyFromPEM(block); err == nil {
		switch bits := key.N.BitLen(); {
		case bits <= 2048:
			return jwt.SigningMethodRS256, key, nil
		case bits <= 3072:
			return jwt.SigningMethodRS384, key, nil
		}
		return jwt.SigningMethodRS512, key, nil
	}
	if key, err := jwt.ParseECPrivateKeyFromPEM(block); err == nil {
		for _, method := range []*jwt.SigningMethodECDSA{jwt.SigningMethodES256, jwt.SigningMethodES384, jwt.SigningMethodES512} {
			if method.CurveBits == key.Curve.Params().BitSize {
				return method, key, nil
			}
		}
	}
	return nil, nil, fmt.Errorf("the private key: the PEM block %q is neither an unencrypted RSA key nor an EC key on P-256, P-384 or P-521",
		blocks[i].Type)
}
