package simulator

import (
	"crypto"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	jwtBearer     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	idTokenBearer = "urn:cloud:idaas:params:oauth:client-assertion-type:id-token-bearer"
	pkcs7Bearer   = "urn:cloud:idaas:params:oauth:client-assertion-type:pkcs7-bearer"
	x509Bearer    = "urn:cloud:idaas:params:oauth:client-assertion-type:x509-jwt-bearer"

	maxAssertionLifetime = 10 * time.Minute
)

var keyMethods = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"}

type refusal struct{ code, message string }

// verify checks the assertion in a form, of any type.
func (s *Server) verify(r *http.Request, client Client) *refusal {
	form := r.PostForm
	kind := form.Get("client_assertion_type")
	switch kind {
	case jwtBearer:
		return s.verifyAssertion(s.tokenEndpoint(r), client, form, client.assertionKey)
	case idTokenBearer, pkcs7Bearer, x509Bearer:
	default:
		return &refusal{"invalid_client", "client_assertion_type is not supported"}
	}
	if client.FederatedCredential == "" || form.Get("application_federated_credential_name") != client.FederatedCredential {
		return &refusal{"invalid_client_credential", "the client has no such federated credential"}
	}
	switch kind {
	case pkcs7Bearer:
		return s.verifyDocument(client, form.Get("client_assertion"))
	case x509Bearer:
		return s.verifyCertified(s.tokenEndpoint(r), client, form)
	}
	return s.verifyIDToken(client, form)
}

func (s *Server) tokenEndpoint(r *http.Request) string {
	if s.config.TokenEndpoint != "" {
		return s.config.TokenEndpoint
	}
	return s.baseURL(r) + TokenPath
}

// assertionKey returns the key of client_secret_jwt or private_key_jwt, depending on the algorithm.
func (c Client) assertionKey(t *jwt.Token) (any, error) {
	if t.Method != jwt.SigningMethodHS256 {
		return choose(c.PublicKeys, t)
	}
	if c.Secret == "" {
		return nil, errors.New("the client has no secret")
	}
	return []byte(c.Secret), nil
}

func (s *Server) verifyAssertion(audience string, client Client, form url.Values, key jwt.Keyfunc) *refusal {
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(form.Get("client_assertion"), &claims, key,
		jwt.WithValidMethods(append([]string{"HS256"}, keyMethods...)),
		jwt.WithTimeFunc(s.config.Now),
		jwt.WithIssuer(client.ID),
		jwt.WithSubject(client.ID),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt())
	if err != nil {
		return refuse(err)
	}
	switch {
	case claims.IssuedAt == nil || claims.ExpiresAt.Sub(claims.IssuedAt.Time) > maxAssertionLifetime:
		return &refusal{"invalid_client", "the assertion is valid for more than 10 minutes, or iat is missing"}
	case claims.ID == "":
		return &refusal{"invalid_client", "the assertion has no jti"}
	}
	now := s.config.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.assertions, func(_ string, end time.Time) bool { return !end.After(now) })
	if _, replayed := s.assertions[claims.ID]; replayed {
		return &refusal{"invalid_client", "the assertion was used before"}
	}
	s.assertions[claims.ID] = claims.ExpiresAt.Time
	return nil
}

func (s *Server) verifyIDToken(client Client, form url.Values) *refusal {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(keyMethods),
		jwt.WithTimeFunc(s.config.Now),
		jwt.WithIssuer(client.OIDC.Issuer),
		jwt.WithExpirationRequired(),
	}
	if client.OIDC.Subject != "" {
		options = append(options, jwt.WithSubject(client.OIDC.Subject))
	}
	if client.OIDC.Audience != "" {
		options = append(options, jwt.WithAudience(client.OIDC.Audience))
	}
	_, err := jwt.Parse(strings.TrimSpace(form.Get("client_assertion")),
		func(t *jwt.Token) (any, error) { return choose(client.OIDC.PublicKeys, t) }, options...)
	if err != nil {
		return refuse(err)
	}
	return nil
}

// choose returns the key with the kid of a JWT, or all keys if it has none.
func choose(keys map[string]crypto.PublicKey, t *jwt.Token) (any, error) {
	if kid, ok := t.Header["kid"]; ok {
		name, _ := kid.(string)
		key, ok := keys[name]
		if !ok {
			return nil, errors.New("no such key")
		}
		return key, nil
	}
	var set jwt.VerificationKeySet
	for _, key := range keys {
		set.Keys = append(set.Keys, key)
	}
	return set, nil
}

func refuse(err error) *refusal {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return &refusal{"expired_token", "the assertion has expired"}
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return &refusal{"invalid_audience", "the assertion is meant for another audience"}
	}
	return &refusal{"invalid_client", "the assertion is not valid: " + err.Error()}
}
