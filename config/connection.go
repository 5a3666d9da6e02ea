package config

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
)

// unsupportedMethods are those of the vendor SDKs that are no IDAAS_AUTH_METHOD, with what to use instead.
var unsupportedMethods = map[string]string{
	"PKCS7":  "identity documents of virtual machines are not supported: give the machine client a secret or a key instead",
	"PCA":    "certificates of a private CA are not supported: register their public key and use private_key_jwt instead",
	"PLUGIN": "RAM identities are not supported: use oidc (RRSA in ACK) or a token in IDAAS_ACCESS_TOKEN_FILE instead",
	"HUMAN":  "a login of a person is not supported: use a machine client instead",
}

// checkConnection returns what is missing, or given twice, to reach the instance; unset are the faults of what the vendor
// file leads to in vain.
func (c *Config) checkConnection(unset map[string]Fault) Faults {
	var faults Faults
	require := func(satisfied bool, name, problem string) {
		if !satisfied {
			f, ok := unset[name]
			if !ok {
				f = Fault{Name: name, Problem: problem}
			}
			faults = append(faults, f)
		}
	}
	const noDomain = "required: set it or IDAAS_DOMAIN"
	require(c.Domain+c.InstanceID != "", "IDAAS_INSTANCE_ID", noDomain)
	require(c.Domain+c.Endpoint != "", "IDAAS_ENDPOINT", noDomain)
	require(c.ClientSecret.Empty() || c.ClientSecretFile == "", "IDAAS_CLIENT_SECRET", "given together with IDAAS_CLIENT_SECRET_FILE: keep one")
	require(c.AccessToken.Empty() || c.AccessTokenFile == "", "IDAAS_ACCESS_TOKEN", "given together with IDAAS_ACCESS_TOKEN_FILE: keep one")
	if c.HasAccessToken() {
		return faults
	}
	require(c.Domain+c.TokenEndpoint != "", "IDAAS_TOKEN_ENDPOINT", noDomain)
	needs := c.AuthMethod + " needs it"
	require(c.ClientID != "", "IDAAS_CLIENT_ID", needs+", unless there is IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE")
	switch c.AuthMethod {
	case "client_secret_basic", "client_secret_post", "client_secret_jwt":
		require(!c.ClientSecret.Empty() || c.ClientSecretFile != "", "IDAAS_CLIENT_SECRET", needs+", or IDAAS_CLIENT_SECRET_FILE")
	case "private_key_jwt":
		require(!c.PrivateKey.Empty() || c.PrivateKeyFile != "", "IDAAS_PRIVATE_KEY_FILE", needs)
	case "oidc":
		require(c.FederatedCredentialName != "", "IDAAS_FEDERATED_CREDENTIAL_NAME", needs)
		_, inVain := unset["IDAAS_OIDC_TOKEN_FILE"]
		require(!inVain, "IDAAS_OIDC_TOKEN_FILE", needs)
	}
	return faults
}

// readRootCAs adds the certificates in the file at path to those of the system.
func (c *Config) readRootCAs(path string) (string, error) {
	data, err := readFile(path, 1<<20)
	if err == nil {
		c.RootCAs, err = x509.SystemCertPool()
	}
	if err == nil && !c.RootCAs.AppendCertsFromPEM(data) {
		err = errors.New("no certificate in it")
	}
	return path, err
}

// HasAccessToken reports whether a ready access token was given, directly or as a file: it wins over the client settings.
func (c *Config) HasAccessToken() bool { return !c.AccessToken.Empty() || c.AccessTokenFile != "" }

// WithoutConnection returns environ without the settings that lead to an IDaaS and say what to watch there: what is
// left suits a demo.
func WithoutConnection(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.ContainsFunc(settings(), func(s setting) bool { return s.name == name && s.Tag.Get("connection") == "true" })
	})
}
