package auth

import (
	"context"
	"slices"
	"strings"
)

// Method is one value of IDAAS_AUTH_METHOD.
type Method struct {
	Name       string
	Needs      []string // settings that it requires beside IDAAS_CLIENT_ID, alternatives separated by |
	Credential string   // what identifies the client and the settings that provide it, for messages
	complete   func(context.Context, *Identity, *Grant) error
}

// RAM is the method whose access tokens the management API returns instead of the token endpoint.
const RAM = "ram"

const federated = "IDAAS_FEDERATED_CREDENTIAL_NAME"

// Methods are all authentication methods.
var Methods = []Method{
	clientSecret("client_secret_basic", clientSecretBasic),
	clientSecret("client_secret_post", clientSecretPost),
	clientSecret("client_secret_jwt", clientSecretJWT),
	{"private_key_jwt", []string{"IDAAS_PRIVATE_KEY_FILE"}, "the private key (IDAAS_PRIVATE_KEY_FILE)", privateKeyJWT},
	{"oidc", []string{federated}, "the ID token (IDAAS_OIDC_TOKEN_FILE, for IDAAS_FEDERATED_CREDENTIAL_NAME)", idToken},
	{"pkcs7", []string{federated}, "the PKCS#7 document (IDAAS_PKCS7_FILE or, if unset, of the ECS metadata service)", identityDocument},
	{
		"pca",
		[]string{"IDAAS_PRIVATE_KEY_FILE", "IDAAS_CERTIFICATE_FILE", "IDAAS_CERTIFICATE_CHAIN_FILE", federated},
		"the certificate (IDAAS_CERTIFICATE_FILE, with IDAAS_CERTIFICATE_CHAIN_FILE and IDAAS_PRIVATE_KEY_FILE)", privateCA,
	},
	{RAM, []string{"IDAAS_MANAGEMENT_ENDPOINT"}, "RAM credentials (ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, " +
		"~/.aliyun/config.json, RRSA, or the machine's role)", nil},
}

func clientSecret(name string, add func(a *Identity, secret string, g *Grant) error) Method {
	return Method{
		name,
		[]string{"IDAAS_CLIENT_SECRET|IDAAS_CLIENT_SECRET_FILE"},
		"the secret (IDAAS_CLIENT_SECRET or IDAAS_CLIENT_SECRET_FILE)",
		func(ctx context.Context, a *Identity, g *Grant) error {
			secret, err := g.read(ctx, a.Secret, Credential.Line)
			if err != nil {
				return err
			}
			g.secret(secret)
			return add(a, secret, g)
		},
	}
}

// MethodOf returns the Method with a name; an empty one if there is none.
func MethodOf(name string) Method {
	if i := slices.IndexFunc(Methods, func(m Method) bool { return m.Name == name }); i >= 0 {
		return Methods[i]
	}
	return Method{}
}

// Credential returns what identifies the client, for messages.
func (a *Identity) Credential() string { return MethodOf(a.Method).Credential }

// ManagementEndpoint returns the base URL of the management API (EIAM 2021-12-01) in the region of a developer API; empty if the
// host of that does not contain a region.
func ManagementEndpoint(developer string) string {
	if rest, ok := strings.CutPrefix(developer, "https://eiam-developerapi"); ok && strings.HasSuffix(rest, ".aliyuncs.com") {
		return "https://eiam" + rest
	}
	return ""
}
