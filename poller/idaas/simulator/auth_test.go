package simulator

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestClientSecrets(t *testing.T) {
	f := start(t, Config{Clients: []Client{
		{ID: testClient, Secret: testSecret, Scopes: []string{ReadScope, pam + "|credential:obtain", "other|x"}},
		{ID: "app_forbidden", Secret: "s", Forbidden: true},
		{ID: "app_keys_only"},
	}})
	right := tokenForm("client_secret", testSecret)
	with := func(more ...string) url.Values {
		form := maps.Clone(right)
		for i := 0; i < len(more); i += 2 {
			form[more[i]] = nil
			if more[i+1] != "" {
				form.Set(more[i], more[i+1])
			}
		}
		return form
	}
	bare := tokenForm()
	twice := maps.Clone(right)
	twice["scope"] = []string{ReadScope, ReadScope}
	for name, test := range map[string]struct {
		form  url.Values
		basic []string
		want  string // the scope or the error
	}{
		"post":                     {form: right, want: ReadScope},
		"post all":                 {form: with("scope", pam+"|.all"), want: ReadScope + " " + pam + "|credential:obtain"},
		"post wrong secret":        {form: with("client_secret", "wrong"), want: "401 invalid_client"},
		"post empty secret":        {form: with("client_id", "app_keys_only", "client_secret", " "), want: "401 invalid_client"},
		"unknown client":           {form: with("client_id", "app_nobody"), want: "401 invalid_client"},
		"no credentials":           {form: bare, want: "401 invalid_client"},
		"no client id":             {form: with("client_id", ""), want: "400 invalid_request"},
		"no scope":                 {form: with("scope", ""), want: "400 invalid_request"},
		"no grant type":            {form: with("grant_type", ""), want: "400 invalid_request"},
		"other grant type":         {form: with("grant_type", "password"), want: "400 unsupported_grant_type"},
		"scope given twice":        {form: twice, want: "400 invalid_request"},
		"scope not granted":        {form: with("scope", pam+"|authentication_token:manage"), want: "400 invalid_scope"},
		"scope without resource":   {form: with("scope", "read"), want: "400 invalid_scope"},
		"two audiences":            {form: with("scope", ReadScope+" other|x"), want: "400 invalid_scope"},
		"no PAM resource":          {form: with("client_id", "app_forbidden", "client_secret", "s"), want: "400 access_denied"},
		"basic":                    {form: bare, basic: []string{testClient, testSecret}, want: ReadScope},
		"basic escaped":            {form: bare, basic: []string{testClient, url.QueryEscape(testSecret)}, want: "401 invalid_client"},
		"basic wrong secret":       {form: bare, basic: []string{testClient, "wrong"}, want: "401 invalid_client"},
		"basic of another client":  {form: bare, basic: []string{"app_keys_only", testSecret}, want: "400 invalid_request"},
		"basic and post":           {form: right, basic: []string{testClient, testSecret}, want: "400 invalid_request"},
		"post and assertion":       {form: with("client_assertion", "x"), want: "400 invalid_request"},
		"assertion without a type": {form: tokenForm("client_assertion", "x"), want: "401 invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outcome(t, f.post(test.form, test.basic...)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// outcome returns the scope of a token response, or its status and error.
func outcome(t *testing.T, answer response) string {
	t.Helper()
	var body struct {
		Token     string `json:"access_token"`
		Type      string `json:"token_type"`
		In        int    `json:"expires_in"`
		At        int64  `json:"expires_at"`
		Scope     string `json:"scope"`
		Error     string `json:"error"`
		Text      string `json:"error_description"`
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(answer.body), &body); err != nil {
		t.Fatalf("%v: %+v", err, answer)
	}
	if answer.status == http.StatusOK {
		if body.Token == "" || body.Type != "Bearer" || body.In != 1200 || body.At != epoch.Unix()+1200 {
			t.Errorf("odd answer: %+v", body)
		}
		return body.Scope
	}
	if body.Text == "" || body.RequestID == "" || body.RequestID != answer.header.Get("X-Acs-Request-Id") {
		t.Errorf("odd error: %+v", body)
	}
	return strconv.Itoa(answer.status) + " " + body.Error
}

func TestAssertions(t *testing.T) {
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	stranger, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	f := start(t, Config{Clients: []Client{
		{
			ID:     testClient,
			Secret: testSecret,
			PublicKeys: map[string]crypto.PublicKey{
				"rsa": rsaKey.Public(), "256": p256.Public(), "384": p384.Public(), "": p521.Public(),
			},
			FederatedCredential: "k8s",
			OIDC: OIDC{
				Issuer:     "https://issuer",
				Subject:    "system:serviceaccount:a:b",
				Audience:   "idaas",
				PublicKeys: map[string]crypto.PublicKey{"": p256.Public()},
			},
		},
		{ID: "app_bare"},
	}})
	endpoint := f.url + TokenPath

	claims := func(more ...any) jwt.MapClaims {
		c := jwt.MapClaims{
			"iss": testClient, "sub": testClient, "aud": endpoint, "jti": rand.Text(),
			"iat": epoch.Unix(), "exp": epoch.Add(10 * time.Minute).Unix(),
		}
		for i := 0; i < len(more); i += 2 {
			c[more[i].(string)] = more[i+1]
			if more[i+1] == nil {
				delete(c, more[i].(string))
			}
		}
		return c
	}
	sign := func(alg string, key any, kid string, c jwt.MapClaims) url.Values {
		token := jwt.NewWithClaims(jwt.GetSigningMethod(alg), c)
		if kid != "" {
			token.Header["kid"] = kid
		}
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return tokenForm("client_assertion_type", jwtBearer, "client_assertion", text)
	}
	secret := []byte(testSecret)
	pem := []byte("-----BEGIN PUBLIC KEY-----")
	bare := claims("iss", "app_bare", "sub", "app_bare")
	asBare := sign("HS256", []byte(" "), "", bare)
	asBare.Set("client_id", "app_bare")
	id := func(more ...any) url.Values {
		all := append([]any{
			"iss", "https://issuer", "sub", "system:serviceaccount:a:b", "aud",
			[]string{"idaas"},
			"jti", nil, "exp",
			epoch.Add(time.Hour).Unix(),
		}, more...)
		form := sign("ES256", p256, "", claims(all...))
		form.Set("client_assertion_type", idTokenBearer)
		form.Set("application_federated_credential_name", "k8s")
		return form
	}
	strangeID := sign("ES256", stranger, "", claims("iss", "https://issuer", "sub", "system:serviceaccount:a:b", "aud", "idaas"))
	strangeID.Set("client_assertion_type", idTokenBearer)
	strangeID.Set("application_federated_credential_name", "k8s")
	otherName := id()
	otherName.Set("application_federated_credential_name", "other")

	const invalid = "401 invalid_client"
	for name, test := range map[string]struct {
		form url.Values
		want string
	}{
		"HS256":                   {sign("HS256", secret, "", claims()), ReadScope},
		"RS256":                   {sign("RS256", rsaKey, "rsa", claims()), ReadScope},
		"RS384":                   {sign("RS384", rsaKey, "rsa", claims()), ReadScope},
		"RS512":                   {sign("RS512", rsaKey, "rsa", claims()), ReadScope},
		"ES256":                   {sign("ES256", p256, "256", claims()), ReadScope},
		"ES384":                   {sign("ES384", p384, "384", claims()), ReadScope},
		"ES512":                   {sign("ES512", p521, "", claims()), ReadScope},
		"without kid":             {sign("RS256", rsaKey, "", claims()), ReadScope},
		"audience in a list":      {sign("HS256", secret, "", claims("aud", []string{endpoint})), ReadScope},
		"wrong secret":            {sign("HS256", []byte("wrong"), "", claims()), invalid},
		"public key as secret":    {sign("HS256", pem, "", claims()), invalid},
		"client without a secret": {asBare, invalid},
		"HS512":                   {sign("HS512", secret, "", claims()), invalid},
		"PS256":                   {sign("PS256", rsaKey, "rsa", claims()), invalid},
		"unsigned":                {sign("none", jwt.UnsafeAllowNoneSignatureType, "", claims()), invalid},
		"stranger's key":          {sign("ES256", stranger, "", claims()), invalid},
		"wrong kid":               {sign("ES256", p256, "384", claims()), invalid},
		"unknown kid":             {sign("ES256", p256, "x", claims()), invalid},
		"other issuer":            {sign("HS256", secret, "", claims("iss", "x")), invalid},
		"other subject":           {sign("HS256", secret, "", claims("sub", "x")), invalid},
		"no issuer":               {sign("HS256", secret, "", claims("iss", nil)), invalid},
		"other audience":          {sign("HS256", secret, "", claims("aud", f.url)), "401 invalid_audience"},
		"no audience":             {sign("HS256", secret, "", claims("aud", nil)), invalid},
		"no jti":                  {sign("HS256", secret, "", claims("jti", nil)), invalid},
		"no iat":                  {sign("HS256", secret, "", claims("iat", nil)), invalid},
		"no exp":                  {sign("HS256", secret, "", claims("exp", nil)), invalid},
		"iat to come":             {sign("HS256", secret, "", claims("iat", epoch.Unix()+60)), invalid},
		"expired":                 {sign("HS256", secret, "", claims("exp", epoch.Unix()-1)), "401 expired_token"},
		"11 minutes":              {sign("HS256", secret, "", claims("exp", epoch.Unix()+660)), invalid},
		"id token":                {id(), ReadScope},
		"id token other issuer":   {id("iss", "https://other"), invalid},
		"id token other subject":  {id("sub", "x"), invalid},
		"id token other audience": {id("aud", "x"), "401 invalid_audience"},
		"id token expired":        {id("exp", epoch.Unix()), "401 expired_token"},
		"id token of a stranger":  {strangeID, invalid},
		"other credential":        {otherName, "401 invalid_client_credential"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outcome(t, f.post(test.form)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	once := sign("HS256", secret, "", claims())
	if got := outcome(t, f.post(once)); got != ReadScope {
		t.Errorf("first use: %s", got)
	}
	if got := outcome(t, f.post(once)); got != invalid {
		t.Errorf("second use: %s", got)
	}
}

func TestAccessTokens(t *testing.T) {
	read := Client{ID: testClient, Secret: testSecret, Scopes: []string{ReadScope, pam + "|credential:obtain"}, Providers: []string{"p"}}
	f := start(t, Config{Clients: []Client{read}, AccessTokenLifetime: time.Minute})
	f.Add("c", "p")
	f.Add("c", "secret")
	token := f.accessToken()
	list := func(token string, more ...string) int {
		t.Helper()
		return f.list(t.Context(), token, listQuery(more...)).status
	}
	expect := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	expect("good", list(token), http.StatusOK)
	expect("none", list(""), http.StatusUnauthorized)
	expect("made up", list("made.up.token"), http.StatusUnauthorized)
	expect("data not granted", list(token, "credentialProviderIdentifier", "secret"), http.StatusForbidden)

	var narrow struct {
		Token string `json:"access_token"`
	}
	form := tokenForm("client_secret", testSecret, "scope", pam+"|credential:obtain")
	if err := json.Unmarshal([]byte(f.post(form).body), &narrow); err != nil {
		t.Fatal(err)
	}
	expect("other scope", list(narrow.Token), http.StatusForbidden)

	f.RevokeAccessTokens()
	expect("revoked", list(token), http.StatusUnauthorized)
	expect("counted as expired", f.ExpiredTokenRequests(), 0)
	token = f.accessToken()
	f.now = f.now.Add(time.Minute - time.Second)
	expect("last second", list(token), http.StatusOK)
	f.now = f.now.Add(time.Second)
	expect("expired", list(token), http.StatusUnauthorized)
	expect("counted as expired", f.ExpiredTokenRequests(), 1)
}

func TestDiscovery(t *testing.T) {
	get := func(f *fixture, path string) (found map[string]any) {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+path, nil)
		if err := json.Unmarshal([]byte(f.do(r).body), &found); err != nil {
			t.Error(err)
		}
		return found
	}
	f := start(t, Config{})
	instance := get(f, InstanceDiscoveryPath)
	endpoints, _ := instance["developer_api_endpoint"].(map[string]any)
	if instance["instance_id"] != "idaas_simulator" || endpoints["internet"] != f.url || endpoints["vpc"] != f.url {
		t.Errorf("instance: %v", instance)
	}
	issuer, _ := instance["default_authorization_server_issuer"].(string)
	if found := get(f, strings.TrimPrefix(issuer, f.url)+"/.well-known/openid-configuration"); found["token_endpoint"] != f.url+TokenPath {
		t.Errorf("issuer: %v", found)
	}

	f = start(t, Config{InstanceID: "i", BaseURL: "https://a", TokenEndpoint: "https://b/token", InternetEndpoint: "c", VPCEndpoint: "d"})
	instance = get(f, InstanceDiscoveryPath)
	endpoints, _ = instance["developer_api_endpoint"].(map[string]any)
	if instance["default_authorization_server_issuer"] != "https://a"+IssuerPath || endpoints["internet"] != "c" || endpoints["vpc"] != "d" {
		t.Errorf("instance: %v", instance)
	}
	if found := get(f, IssuerDiscoveryPath); found["token_endpoint"] != "https://b/token" {
		t.Errorf("issuer: %v", found)
	}
	if n := f.Requests(Discovery); n != 2 {
		t.Errorf("%d discovery requests", n)
	}
}
