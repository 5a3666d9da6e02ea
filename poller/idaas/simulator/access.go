package simulator

import (
	"crypto"
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// ReadScope is the least scope that the list call needs; Client.Scopes is just this one by default.
const ReadScope = pam + "|authentication_token:read"

const pam = "urn:cloud:idaas:pam"

// Client is a machine client. It may authenticate with every method for which it has credentials.
type Client struct {
	ID                  string
	Secret              string                      // for client_secret_basic, _post and _jwt
	PublicKeys          map[string]crypto.PublicKey // for private_key_jwt, by kid; an assertion without kid may be signed by any
	FederatedCredential string                      // name of the federated credential, of whatever type
	OIDC                OIDC
	PCA                 PCA
	// PKCS7 returns the content of an identity document if its signature is valid; nil: no document is accepted.
	PKCS7     func(document []byte, at time.Time) (content []byte, err error)
	Scopes    []string // granted, as "resource|permission"
	Forbidden bool     // has no grant for PAM: the token endpoint returns access_denied
	Providers []string // with tokens that it may list; nil: all. The response for others is 403
}

// OIDC has the verification conditions for ID tokens of a federated credential.
type OIDC struct {
	Issuer     string
	Subject    string                      // "": any
	Audience   string                      // "": any
	PublicKeys map[string]crypto.PublicKey // by kid, as in Client
}

// PCA has the verification conditions for client certificates of a federated credential.
type PCA struct {
	Roots      *x509.CertPool // nil: no certificate is accepted
	CommonName string         // "": any
}

type accessClaims struct {
	jwt.RegisteredClaims
	Scope      string `json:"scope"`
	Generation int    `json:"generation"`
}

// RevokeAccessTokens makes the Server respond with 401 to all access tokens issued before.
func (s *Server) RevokeAccessTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
}

func (c Client) scopes() []string {
	if c.Scopes == nil {
		return []string{ReadScope}
	}
	return c.Scopes
}

func (c Client) reads(provider string) bool {
	return c.Providers == nil || slices.Contains(c.Providers, provider)
}

// granted returns the scope of an access token: the requested scope, with "resource|.all" replaced by all granted permissions.
func (c Client) granted(scope string) (string, *answer) {
	refuse := func(message string) (string, *answer) {
		a := failure(http.StatusBadRequest, "invalid_scope", message)
		return "", &a
	}
	var granted []string
	audience := ""
	for item := range strings.SplitSeq(scope, " ") {
		resource, permission, ok := strings.Cut(item, "|")
		if !ok || audience != "" && resource != audience {
			return refuse("the scope is not a list of permissions of one resource server")
		}
		audience = resource
		if resource == pam && c.Forbidden {
			a := failure(http.StatusBadRequest, "access_denied", "the client has not been authorized by resource server "+pam)
			return "", &a
		}
		found := false
		for _, own := range c.scopes() {
			if own == item || permission == ".all" && strings.HasPrefix(own, resource+"|") {
				granted = append(granted, own)
				found = true
			}
		}
		if !found {
			return refuse("the client was not granted " + item)
		}
	}
	return strings.Join(granted, " "), nil
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// authorize returns the client of an access token that is valid for the list call.
func (s *Server) authorize(token string) (Client, *answer) {
	deny := func(status int, code, message string) (Client, *answer) {
		a := failure(status, code, message)
		return Client{}, &a
	}
	var claims accessClaims
	_, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return s.key, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.config.Now))
	switch {
	case token == "":
		return deny(http.StatusUnauthorized, "invalid_token", "an access token is required")
	case errors.Is(err, jwt.ErrTokenExpired):
		s.mu.Lock()
		s.requests.expired++
		s.mu.Unlock()
		return deny(http.StatusUnauthorized, "expired_token", "the access token has expired")
	case err != nil:
		return deny(http.StatusUnauthorized, "invalid_token", "the access token is not valid")
	}
	s.mu.Lock()
	generation := s.generation
	s.mu.Unlock()
	if claims.Generation != generation {
		return deny(http.StatusUnauthorized, "invalid_token", "the access token was revoked")
	}
	scopes := strings.Split(claims.Scope, " ")
	if !slices.Contains(scopes, ReadScope) && !slices.Contains(scopes, pam+"|.all") {
		return deny(http.StatusForbidden, "insufficient_scope", "the access token lacks "+ReadScope)
	}
	return s.clients[claims.Subject], nil
}

// grant responds to requests of the token endpoint.
func (s *Server) grant(r *http.Request, formErr error) answer {
	form := r.PostForm
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method != http.MethodPost:
		return failure(http.StatusMethodNotAllowed, "method_not_allowed", "use POST")
	case formErr != nil || mediaType != "application/x-www-form-urlencoded":
		return failure(http.StatusBadRequest, "invalid_request", "the body is not a form")
	}
	for name, values := range form {
		if len(values) > 1 {
			return failure(http.StatusBadRequest, "invalid_request", name+" is given more than once")
		}
	}
	for _, name := range []string{"grant_type", "client_id", "scope"} {
		if form.Get(name) == "" {
			return failure(http.StatusBadRequest, "invalid_request", name+" is required")
		}
	}
	if form.Get("grant_type") != "client_credentials" {
		return failure(http.StatusBadRequest, "unsupported_grant_type", "only client_credentials is supported")
	}
	client, refused := s.authenticate(r)
	if refused != nil {
		return *refused
	}
	scope, refused := client.granted(form.Get("scope"))
	if refused != nil {
		return *refused
	}
	return s.issue(r, client, scope)
}

func (s *Server) issue(r *http.Request, client Client, scope string) answer {
	token, end, lifetime, err := s.mint(r, client, scope)
	if err != nil {
		return failure(http.StatusInternalServerError, "server_error", err.Error())
	}
	return answer{status: http.StatusOK, key: "access_token", encode: func(e *encoder) {
		e.open()
		e.text("access_token", token)
		e.text("token_type", "Bearer")
		e.int("expires_in", int64(lifetime/time.Second))
		e.int("expires_at", end.Unix())
		e.text("scope", scope)
		e.end()
	}}
}

// mint returns an access token that is valid for lifetime.
func (s *Server) mint(r *http.Request, client Client, scope string) (token string, end time.Time, lifetime time.Duration, err error) {
	now := s.config.Now()
	lifetime = max(s.config.AccessTokenLifetime.Truncate(time.Second), time.Second)
	// Rounded up, so that no client that respects expires_in uses it too long.
	end = now.Add(lifetime + time.Second - 1).Truncate(time.Second)
	s.mu.Lock()
	generation := s.generation
	s.mu.Unlock()
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    s.baseURL(r) + IssuerPath,
			Subject:   client.ID,
			Audience:  jwt.ClaimStrings{pam},
			ExpiresAt: jwt.NewNumericDate(end),
			IssuedAt:  jwt.NewNumericDate(now),
			ID:        rand.Text(),
		},
		Scope:      scope,
		Generation: generation,
	}).SignedString(s.key)
	return token, end, lifetime, err
}

// authenticate returns the client that sent the form, after verification of its credentials.
func (s *Server) authenticate(r *http.Request) (Client, *answer) {
	form := r.PostForm
	id, secret, basic := r.BasicAuth()
	post, assertion := form.Has("client_secret"), form.Has("client_assertion") || form.Has("client_assertion_type")
	methods := 0
	for _, used := range []bool{r.Header.Get("Authorization") != "", post, assertion} {
		if used {
			methods++
		}
	}
	refuse := func(status int, code, message string) (Client, *answer) {
		a := failure(status, code, message)
		if status == http.StatusUnauthorized && basic {
			a.header = http.Header{"Www-Authenticate": {`Basic realm="idaas"`}}
		}
		return Client{}, &a
	}
	if methods > 1 {
		return refuse(http.StatusBadRequest, "invalid_request", "more than one method of client authentication")
	}
	client, known := s.clients[form.Get("client_id")]
	wrong := func() (Client, *answer) {
		return refuse(http.StatusUnauthorized, "invalid_client", "client authentication failed")
	}
	switch {
	case basic && id != form.Get("client_id"):
		return refuse(http.StatusBadRequest, "invalid_request", "two different client ids")
	case !known:
		return wrong()
	case assertion:
		if err := s.verify(r, client); err != nil {
			return refuse(http.StatusUnauthorized, err.code, err.message)
		}
		return client, nil
	case post:
		secret = form.Get("client_secret")
	case !basic:
		return wrong()
	}
	if client.Secret == "" || subtle.ConstantTimeCompare([]byte(secret), []byte(client.Secret)) != 1 {
		return wrong()
	}
	return client, nil
}
