package witness

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/config"
	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator/identities"
)

// vendorKeys are all keys of a client-config.json: the method under which a key matters, and two values that are good.
var vendorKeys = []struct {
	key, method string
	value       any
	other       any
}{
	{"idaasInstanceId", "CLIENT_SECRET_POST", "idaas_a", "idaas_b"},
	{"clientId", "CLIENT_SECRET_POST", "app_a", "app_b"},
	{"scope", "CLIENT_SECRET_POST", "urn:cloud:idaas:pam|.all", "urn:cloud:idaas:pam|authentication_token:read"},
	{"issuer", "CLIENT_SECRET_POST", "https://a.test/oauth2", "https://b.test/oauth2"},
	{"tokenEndpoint", "CLIENT_SECRET_POST", "https://a.test/oauth2/token", "b.test/token"},
	{"developerApiEndpoint", "CLIENT_SECRET_POST", "eiam.a.test", "https://eiam.b.test"},
	{"openApiEndpoint", "CLIENT_SECRET_POST", "openapi.a.test", "openapi.b.test"},
	{"deviceAuthorizationEndpoint", "CLIENT_SECRET_POST", "https://a.test/device", "https://b.test/device"},
	{"authnConfiguration", "CLIENT_SECRET_POST", nil, nil},
	{"authnConfiguration.identityType", "CLIENT_SECRET_POST", "CLIENT", "HUMAN"},
	{"authnConfiguration.authnMethod", "CLIENT_SECRET_POST", "CLIENT_SECRET_POST", "CLIENT_SECRET_BASIC"},
	{"authnConfiguration.clientSecretEnvVarName", "CLIENT_SECRET_POST", "SECRET_A", "SECRET_B"},
	{"authnConfiguration.privateKeyEnvVarName", "PRIVATE_KEY_JWT", "KEY_A", "KEY_B"},
	{"authnConfiguration.applicationFederatedCredentialName", "OIDC", "a", "b"},
	{"authnConfiguration.clientDeployEnvironment", "PKCS7", "ALIBABA_CLOUD_ECS", "AWS_EC2"},
	{"authnConfiguration.oidcTokenFilePath", "OIDC", "", ""},
	{"authnConfiguration.oidcTokenFilePathEnvVarName", "OIDC", "TOKEN_A", "TOKEN_B"},
	{"authnConfiguration.clientX509Certificate", "PCA", "", ""},
	{"authnConfiguration.x509CertChains", "PCA", "", ""},
	{"authnConfiguration.humanAuthenticateClientId", "CLIENT_SECRET_POST", "a", "b"},
	{"authnConfiguration.pluginName", "PLUGIN", "alibabacloudPluginCredentialProvider", "another"},
	{"httpConfiguration", "CLIENT_SECRET_POST", nil, nil},
	{"httpConfiguration.connectTimeout", "CLIENT_SECRET_POST", 5000, 1},
	{"httpConfiguration.readTimeout", "CLIENT_SECRET_POST", 5000, 1},
	{"httpConfiguration.unsafeIgnoreSslCert", "CLIENT_SECRET_POST", false, true},
}

// fileDifferences are where one client-config.json has another outcome in the exporter than in the vendor's client, each with
// the reason.
var fileDifferences = []struct{ cases, reason string }{
	{"idaasInstanceId empty", "the vendor's would ask for an instance without a name: an empty text is none here"},
	{"idaasInstanceId (number|words)", "refused here already: the id is part of a path"},
	{"(tokenEndpoint|developerApiEndpoint|openApiEndpoint) words", "refused here already: no URL"},
	{"scope words", "what is no scope is left to the token endpoint to say"},
	{`authnConfiguration\.oidcTokenFilePath words`, "the file need not be there at the start"},
	{"developerApiEndpoint empty", "as idaasInstanceId"},
	{"scope (missing|null|empty)", "IDAAS_SCOPE, whose default is what this needs; the vendor's is for cloud accounts"},
	{"issuer (missing|null|lower case)", "not needed beside a tokenEndpoint"},
	{"tokenEndpoint (missing|null|empty|lower case)", "the issuer tells it"},
	{`authnConfiguration\.authnMethod (missing|null|empty|lower case)`, "IDAAS_AUTH_METHOD, which has a default"},
	{
		`authnConfiguration\.clientDeployEnvironment (missing|null|empty|lower case)`,
		"only ECS has a metadata service that is known here, so it need not be said",
	},
	{`authnConfiguration\.oidcTokenFilePathEnvVarName number`, "the vendor's does not look at it beside an oidcTokenFilePath"},
	{"deviceAuthorizationEndpoint number", "not looked at here"},
	{`httpConfiguration(\.(connect|read)Timeout)? (other|null|empty|number|words)`, "IDAAS_REQUEST_TIMEOUT, which may be of any length"},
}

// TestVendorFiles has the vendor's client and the exporter read the same files, in which one key is changed at a time.
func TestVendorFiles(t *testing.T) {
	ca, environ := identities.NewCA(t, time.Now()), []string{"SECRET_A=secret a", "SECRET_B=secret b"}
	for i, k := range vendorKeys {
		if strings.HasSuffix(k.key, "oidcTokenFilePath") {
			vendorKeys[i].value, vendorKeys[i].other = tokenFile(t), tokenFile(t)
		}
	}
	environ = append(environ, "TOKEN_A="+tokenFile(t), "TOKEN_B="+tokenFile(t))
	var certificates []any
	for _, name := range []string{"A", "B"} {
		key := newECKey(t)
		environ = append(environ, "KEY_"+name+"="+strings.TrimSpace(identities.PrivateKey(t, key)))
		certificates = append(certificates, strings.TrimSpace(ca.Issue(t, name, key.Public(), time.Now(), time.Now())))
	}
	type job struct {
		File string `json:"file"`
	}
	var names []string
	var files []job
	add := func(name string, content map[string]any) {
		text, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "client-config.json")
		e2e.WriteFile(t, file, string(text))
		names, files = append(names, name), append(files, job{file})
	}
	for i, k := range vendorKeys {
		if strings.HasSuffix(k.key, "Certificate") || strings.HasSuffix(k.key, "CertChains") {
			vendorKeys[i].value, vendorKeys[i].other = certificates[0], certificates[1]
		}
	}
	for _, k := range vendorKeys {
		for variant, change := range map[string]func(section map[string]any, key string){
			"":            func(map[string]any, string) {},
			"other":       func(s map[string]any, key string) { s[key] = k.other },
			"missing":     func(s map[string]any, key string) { delete(s, key) },
			"null":        func(s map[string]any, key string) { s[key] = nil },
			"empty":       func(s map[string]any, key string) { s[key] = "" },
			"number":      func(s map[string]any, key string) { s[key] = 7 },
			"words":       func(s map[string]any, key string) { s[key] = "none of the values" },
			"underscores": func(s map[string]any, key string) { rename(s, key, underscores(key)) },
			"lower case":  func(s map[string]any, key string) { rename(s, key, strings.ToLower(key)) },
		} {
			content := vendorContent(k.method)
			section, key := content, k.key
			if outer, inner, nested := strings.Cut(key, "."); nested {
				section, key = content[outer].(map[string]any), inner
			}
			change(section, key)
			add(k.key+" "+variant, content)
		}
	}
	var answer struct {
		Keys     []string
		Outcomes []map[string]any
	}
	askVendor(t, nil, environ, map[string]any{"do": "read", "files": files}, &answer)

	known := map[string]bool{}
	for _, k := range vendorKeys {
		known[underscores(k.key[strings.LastIndex(k.key, ".")+1:])] = true
	}
	for _, key := range answer.Keys {
		if !known[strings.Replace(key, "openapi", "open_api", 1)] {
			t.Errorf("the vendor's client has a key that is not looked at: %s", key)
		}
	}
	met := map[string]bool{}
	for i, theirs := range answer.Outcomes {
		ours := outcome(environ, files[i].File)
		if same(ours, theirs) {
			continue
		}
		at := slices.IndexFunc(fileDifferences, func(d struct{ cases, reason string }) bool {
			return regexp.MustCompile("^(" + d.cases + ")$").MatchString(names[i])
		})
		if at < 0 {
			t.Errorf("%s:\nours %v\nthe vendor's %v", names[i], ours, theirs)
			continue
		}
		met[fileDifferences[at].cases] = true
	}
	for _, d := range fileDifferences {
		if !met[d.cases] {
			t.Errorf("no longer a difference: %s", d.cases)
		}
	}
}

// vendorContent is a file with every key.
func vendorContent(method string) map[string]any {
	content := map[string]any{"authnConfiguration": map[string]any{}, "httpConfiguration": map[string]any{}}
	for _, k := range vendorKeys {
		if outer, inner, nested := strings.Cut(k.key, "."); nested {
			content[outer].(map[string]any)[inner] = k.value
		} else if k.value != nil {
			content[k.key] = k.value
		}
	}
	authn := content["authnConfiguration"].(map[string]any)
	authn["authnMethod"] = method
	if method == "OIDC" {
		authn["clientDeployEnvironment"] = "KUBERNETES"
	}
	return content
}

func rename(section map[string]any, from, to string) {
	value := section[from]
	delete(section, from)
	section[to] = value
}

// tokenFile returns the path of a file with something in it.
func tokenFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	e2e.WriteFile(t, file, "an ID token")
	return file
}

func underscores(key string) string {
	return strings.ToLower(regexp.MustCompile("[A-Z]").ReplaceAllString(key, "_$0"))
}

// outcome is what the exporter would work with, or why not, as witness.py tells it of the vendor's client.
func outcome(environ []string, file string) map[string]string {
	c, err := config.Load(append(environ, "CLOUD_IDAAS_CONFIG_PATH="+file, "IDAAS_TARGETS=a:b"), nil)
	if err != nil {
		return map[string]string{"refused": err.Error()}
	}
	o := map[string]string{
		"instance": c.InstanceID, "endpoint": c.Endpoint, "client": c.ClientID, "scope": c.Scope,
		"token endpoint": c.TokenEndpoint, "method": c.AuthMethod,
	}
	switch c.AuthMethod {
	case "ram":
		o["method"] = "plugin" // as the vendor calls it
	case "client_secret_post", "client_secret_basic", "client_secret_jwt":
		o["secret"] = c.ClientSecret.Reveal()
	case "pca":
		o["certificate"], o["chain"] = c.Certificate.Reveal(), c.CertificateChain.Reveal()
		fallthrough
	case "private_key_jwt":
		o["key"] = c.PrivateKey.Reveal()
	case "oidc":
		o["token file"] = c.OIDCTokenFile
	}
	if slices.Contains([]string{"oidc", "pkcs7", "pca"}, c.AuthMethod) {
		o["federated credential"] = c.FederatedCredentialName
	}
	return o
}

// same reports whether both refuse, or both work with the same.
func same(ours map[string]string, theirs map[string]any) bool {
	if ours["refused"] != "" || theirs["refused"] != nil {
		return ours["refused"] != "" && theirs["refused"] != nil
	}
	for name, value := range theirs {
		if value == nil {
			value = ""
		}
		if value != any(ours[name]) {
			return false
		}
	}
	return true
}
