package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const inVendorFile = "CLOUD_IDAAS_CONFIG_PATH client-config.json: "

// withVendorFile returns an environment with a target, a vendor file with text, and more.
func withVendorFile(t *testing.T, text string, more ...string) []string {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("client-config.json", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return append(more, "CLOUD_IDAAS_CONFIG_PATH=client-config.json", "IDAAS_TARGETS=a:b")
}

const camelCase = `{
  "idaasInstanceId": "idaas_file", "clientId": "app_file", "issuer": "https://file.example.com/api/v2/iauths_system/oauth2",
  "tokenEndpoint": "https://file.example.com/api/v2/iauths_system/oauth2/token", "scope": "urn:cloud:idaas:pam|.all",
  "developerApiEndpoint": "eiam.file.example.com", "openApiEndpoint": "eiam.file.aliyuncs.com",
  "deviceAuthorizationEndpoint": {}, "unknown": [null],
  "authnConfiguration": {
    "identityType": "CLIENT", "authnMethod": "CLIENT_SECRET_BASIC", "clientSecretEnvVarName": "MY_SECRET", "privateKeyEnvVarName": "MY_KEY",
    "applicationFederatedCredentialName": "federated", "clientDeployEnvironment": "KUBERNETES", "pluginName": null,
    "oidcTokenFilePath": "/file", "oidcTokenFilePathEnvVarName": "MY_TOKEN_FILE"
  },
  "httpConfiguration": {"connectTimeout": 5000, "readTimeout": "soon", "unsafeIgnoreSslCert": false}
}`

// fromVendorFile has the values of camelCase and snakeCase.
const fromVendorFile = "idaas_file https://eiam.file.example.com https://file.example.com/api/v2/iauths_system/oauth2/token " +
	"client_secret_basic " +
	"app_file hush urn:cloud:idaas:pam|.all hush-key federated /file"

const snakeCase = `{
  "idaas_instance_id": "idaas_file", "client_id": "app_file",
  "token_endpoint": "https://file.example.com/api/v2/iauths_system/oauth2/token",
  "scope": "urn:cloud:idaas:pam|.all", "developer_api_endpoint": "eiam.file.example.com",
  "authn_configuration": {
    "authentication_subject": "CLIENT", "authn_method": "CLIENT_SECRET_BASIC", "client_secret_env_var_name": "MY_SECRET",
    "private_key_env_var_name": "MY_KEY",
    "application_federated_credential_name": "federated", "oidc_token_file_path": "/file",
    "oidc_token_file_path_env_var_name": "MY_TOKEN_FILE"
  }
}`

func TestVendorFile(t *testing.T) {
	variables := []string{"MY_SECRET=hush", "MY_KEY=hush-key", "MY_TOKEN_FILE=/variable", "ALIBABA_CLOUD_OIDC_TOKEN_FILE=/ack"}
	for name, c := range map[string]struct {
		text string
		more []string
		want string
	}{
		"camel case": {camelCase, variables, fromVendorFile},
		"snake case": {snakeCase, variables, fromVendorFile},
		"variables win": {camelCase, append(slices.Clone(variables), "IDAAS_DOMAIN=d", "IDAAS_INSTANCE_ID=idaas_var", "IDAAS_ENDPOINT=e",
			"IDAAS_TOKEN_ENDPOINT=t/t",
			"IDAAS_AUTH_METHOD=oidc", "IDAAS_CLIENT_ID=app_var", "IDAAS_CLIENT_SECRET=hush-var", "IDAAS_SCOPE=s", "IDAAS_PRIVATE_KEY_FILE=/key",
			"IDAAS_FEDERATED_CREDENTIAL_NAME=f", "IDAAS_OIDC_TOKEN_FILE=/var"), "idaas_var https://e https://t/t oidc app_var hush-var s  f /var"},
		"a secret in a file wins": {
			camelCase, append(slices.Clone(variables), "IDAAS_CLIENT_SECRET_FILE=/secret"),
			strings.Replace(fromVendorFile, " hush ", "  ", 1),
		},
		"what it lacks is discovered": {`{"tokenEndpoint": "file/t"}`, []string{
			"IDAAS_DOMAIN=d", "IDAAS_CLIENT_ID=c",
			"IDAAS_CLIENT_SECRET=hush",
		}, "  https://file/t client_secret_post " +
			"c hush urn:cloud:idaas:pam|authentication_token:read   /var/run/secrets/kubernetes.io/serviceaccount/token"},
		"issuer": {
			`{"issuer": "https://file/oauth2/", "tokenEndpoint": null, "scope": " "}`,
			[]string{"IDAAS_DOMAIN=d", "IDAAS_CLIENT_ID=c", "IDAAS_CLIENT_SECRET=hush"},
			"  https://file/oauth2/token client_secret_post c hush urn:cloud:idaas:pam|authentication_token:read   " +
				"/var/run/secrets/kubernetes.io/serviceaccount/token",
		},
		"a path in a variable": {
			`{"authnConfiguration": {"authnMethod": "OIDC", "oidcTokenFilePathEnvVarName": "MY_TOKEN_FILE", ` +
				`"applicationFederatedCredentialName": "f"}}`,
			[]string{"IDAAS_DOMAIN=d", "IDAAS_CLIENT_ID=c", "MY_TOKEN_FILE=/variable", "ALIBABA_CLOUD_OIDC_TOKEN_FILE=/ack"},
			"   oidc c  urn:cloud:idaas:pam|authentication_token:read  f /variable",
		},
		"a path of its own": {
			`{"authnConfiguration": {"authnMethod": "OIDC", "oidcTokenFilePathEnvVarName": "NONE", "oidcTokenFilePath": "/file", ` +
				`"applicationFederatedCredentialName": "f"}}`,
			[]string{"IDAAS_DOMAIN=d", "IDAAS_CLIENT_ID=c", "ALIBABA_CLOUD_OIDC_TOKEN_FILE=/ack"},
			"   oidc c  urn:cloud:idaas:pam|authentication_token:read  f /file",
		},
		"both spellings": {
			`{"clientId": "c", "client_id": "c", "authnConfiguration": {"authnMethod": "PRIVATE_KEY_JWT", "privateKeyEnvVarName": ` +
				`"IDAAS_CLIENT_SECRET"}}`,
			[]string{"IDAAS_DOMAIN=d", "IDAAS_CLIENT_SECRET=hush"},
			"   private_key_jwt c hush urn:cloud:idaas:pam|authentication_token:read hush  /var/run/secrets/kubernetes.io/serviceaccount/token",
		},
		"a ready access token": {
			`{"authnConfiguration": {"authnMethod": "PLUGIN", "clientSecretEnvVarName": "NONE"}}`,
			[]string{"IDAAS_DOMAIN=d", "IDAAS_ACCESS_TOKEN_FILE=/t"},
			"   client_secret_post   urn:cloud:idaas:pam|authentication_token:read   /var/run/secrets/kubernetes.io/serviceaccount/token",
		},
	} {
		t.Run(name, func(t *testing.T) {
			loaded := mustLoad(t, withVendorFile(t, c.text, c.more...))
			got := strings.Join([]string{
				loaded.InstanceID, loaded.Endpoint, loaded.TokenEndpoint, loaded.AuthMethod, loaded.ClientID, loaded.ClientSecret.Reveal(),
				loaded.Scope, loaded.PrivateKey.Reveal(),
				loaded.FederatedCredentialName, loaded.OIDCTokenFile,
			}, " ")
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if len(loaded.Warnings) > 0 {
				t.Error(loaded.Warnings)
			}
		})
	}
}

func TestVendorFileMethods(t *testing.T) {
	const accepted = "; accepted: client_secret_basic, client_secret_post, client_secret_jwt, private_key_jwt, oidc, pkcs7, pca, ram"
	for method, want := range map[string]string{
		"CLIENT_SECRET_BASIC": "client_secret_basic",
		"CLIENT_SECRET_POST":  "client_secret_post",
		"CLIENT_SECRET_JWT":   "client_secret_jwt",
		"PRIVATE_KEY_JWT":     "private_key_jwt",
		"OIDC":                "oidc",
		"PKCS7":               "pkcs7",
		"PCA":                 "pca",
		"PLUGIN":              "ram",
		"NONE":                `="none": unknown` + accepted,
	} {
		environ := withVendorFile(t,
			`{"authnConfiguration": {"authnMethod": "`+method+`", "pluginName": "alibabacloudPluginCredentialProvider"}}`, "IDAAS_DOMAIN=d",
			"IDAAS_CLIENT_ID=c",
			"IDAAS_CLIENT_SECRET=hush", "IDAAS_PRIVATE_KEY_FILE=/k", "IDAAS_FEDERATED_CREDENTIAL_NAME=f", "IDAAS_CERTIFICATE_FILE=/c",
			"IDAAS_CERTIFICATE_CHAIN_FILE=/ch")
		if strings.HasPrefix(want, "=") {
			wantFaults(t, faultsOf(t, environ), inVendorFile+"authnConfiguration.authnMethod"+want)
			mustLoad(t, append(environ, "IDAAS_AUTH_METHOD=oidc"))
		} else if got := mustLoad(t, environ).AuthMethod; got != want {
			t.Errorf("%s: %s", method, got)
		}
	}
}

func TestVendorFilePlugin(t *testing.T) {
	const problem = ": unknown plugin; accepted: alibabacloudPluginCredentialProvider"
	for plugin, want := range map[string]string{`"other"`: `="other"` + problem, `""`: problem, `null`: problem} {
		environ := withVendorFile(t,
			`{"openApiEndpoint": "eiam.example.com", "authnConfiguration": {"authnMethod": "PLUGIN", "pluginName": `+plugin+`}}`,
			"IDAAS_DOMAIN=d", "IDAAS_CLIENT_ID=c")
		wantFaults(t, faultsOf(t, environ), inVendorFile+"authnConfiguration.pluginName"+want)
		if c := mustLoad(t, append(environ, "IDAAS_AUTH_METHOD=ram")); c.ManagementEndpoint != "https://eiam.example.com" {
			t.Errorf("the management API is at %q", c.ManagementEndpoint)
		}
	}
}

// The file contains the certificates; the settings are paths.
func TestVendorFileCertificates(t *testing.T) {
	text := `{"authnConfiguration": {"authnMethod": "PCA", "applicationFederatedCredentialName": "f", "privateKeyEnvVarName": "MY_KEY",
		"clientX509Certificate": "-----BEGIN\nleaf", "x509_cert_chains": "-----BEGIN\nchain"}}`
	c := mustLoad(t, withVendorFile(t, text, "IDAAS_DOMAIN=d", "IDAAS_CLIENT_ID=c", "MY_KEY=key"))
	if got := c.PrivateKey.Reveal() + c.Certificate.Reveal() + c.CertificateChain.Reveal(); got != "key-----BEGIN\nleaf-----BEGIN\nchain" {
		t.Errorf("%q", got)
	}
	c = mustLoad(t, withVendorFile(t, text, "IDAAS_DOMAIN=d", "IDAAS_CLIENT_ID=c", "IDAAS_PRIVATE_KEY_FILE=/k", "IDAAS_CERTIFICATE_FILE=/c",
		"IDAAS_CERTIFICATE_CHAIN_FILE=/ch"))
	if got := c.PrivateKeyFile + c.CertificateFile + c.CertificateChainFile + c.Certificate.Reveal() +
		c.CertificateChain.Reveal(); got != "/k/c/ch" {
		t.Errorf("%q", got)
	}
}

// Only the metadata service of Alibaba Cloud is accepted.
func TestVendorFileDeployment(t *testing.T) {
	text := `{"authnConfiguration": {"authnMethod": "PKCS7", "applicationFederatedCredentialName": "f", "clientDeployEnvironment": "AWS_EC2"}}`
	settings := []string{"IDAAS_DOMAIN=d", "IDAAS_CLIENT_ID=c"}
	wantFaults(t, faultsOf(t, withVendorFile(t, text, settings...)),
		inVendorFile+`authnConfiguration.clientDeployEnvironment="AWS_EC2": unknown metadata service; set IDAAS_PKCS7_FILE; accepted: `+
			`ALIBABA_CLOUD_ECS`)
	for _, fine := range []struct{ text, setting string }{
		{text, "IDAAS_PKCS7_FILE=/d"},
		{text, "IDAAS_ACCESS_TOKEN=hush"},
		{strings.Replace(text, "AWS_EC2", "ALIBABA_CLOUD_ECS", 1), ""},
		{strings.Replace(text, "PKCS7", "OIDC", 1), ""},
	} {
		mustLoad(t, withVendorFile(t, fine.text, append(settings, fine.setting)...))
	}
}

func TestVendorFileFaults(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"null":           {"null", nil},
		"other spelling": {`{"ClientId": 1, "clientid": 2}`, nil},
		"types": {`{"idaasInstanceId": 1, "client_id": ["hush"], "scope": true, "httpConfiguration": [],
			"authnConfiguration": {"authnMethod": {}, "oidc_token_file_path": 1.5}}`, []string{
			inVendorFile + "idaasInstanceId: not a string",
			inVendorFile + "clientId: not a string",
			inVendorFile + "scope: not a string",
			inVendorFile + "authnConfiguration.authnMethod: not a string",
			inVendorFile + "authnConfiguration.oidcTokenFilePath: not a string",
		}},
		"section": {`{"authn_configuration": "CLIENT_SECRET_BASIC"}`, []string{inVendorFile + "authnConfiguration: not an object"}},
		"values": {`{"idaasInstanceId": "../x", "developerApiEndpoint": "http://me:hush@h", "tokenEndpoint": ` +
			`"https://d/api/v2/<authorizationServerId>/oauth2/token"}`, []string{
			inVendorFile + `idaasInstanceId="../x": not an identifier of 1 to 64 letters, digits and . - _; accepted: letters, digits and . - _`,
			inVendorFile + `developerApiEndpoint="@h": user and password are not allowed; accepted: [https://]host[:port] without a path; ` +
				`http:// for loopback only`,
			inVendorFile + `tokenEndpoint="https://d/api/v2/<authorizationServerId>/oauth2/token": a placeholder between < and >; replace it; ` +
				`accepted: [https://]host[:port]/path; http:// for loopback only`,
		}},
		"issuer": {`{"issuer": "http://h/oauth2"}`, []string{
			inVendorFile + `issuer="http://h/oauth2/token": http:// is allowed for a loopback host only: credentials would travel in clear; ` +
				`accepted: [https://]host[:port]/path; http:// for loopback only`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			environ := withVendorFile(t, c.text, "IDAAS_DOMAIN=d", "IDAAS_CLIENT_ID=c", "IDAAS_CLIENT_SECRET=hush")
			if c.want == nil {
				mustLoad(t, environ)
				return
			}
			wantFaults(t, faultsOf(t, environ), c.want...)
		})
	}
}

func TestVendorFileSyntax(t *testing.T) {
	for text, problem := range map[string]string{
		"": "unexpected EOF", `{"clientId":`: "unexpected EOF", `{"clientId": hush}`: "invalid character 'h' at start of value",
		"{}\n\n{}": "after top-level value", `{"a": 1, "a": 1}`: "duplicate object member name",
		`{"a": {"b": 1, "b": 1}}`: "duplicate object member name",
		"{\"a\": \"\xff\"}":       "invalid UTF-8", "[]": "unmarshal JSON array",
	} {
		faults := faultsOf(t, withVendorFile(t, text, "IDAAS_DOMAIN=d", "IDAAS_CLIENT_ID=c", "IDAAS_CLIENT_SECRET=hush"))
		if len(faults) != 1 || faults[0].Name != "CLOUD_IDAAS_CONFIG_PATH" || faults[0].Value != "client-config.json" ||
			!strings.Contains(faults[0].Problem, problem) || strings.Contains(faults[0].Problem, "hush") {
			t.Errorf("%s: %v", text, faults)
		}
	}
}

func TestVendorFileVariables(t *testing.T) {
	const noSecret = "IDAAS_CLIENT_SECRET: required by client_secret_post; set it or IDAAS_CLIENT_SECRET_FILE"
	const noKey = "IDAAS_PRIVATE_KEY_FILE: required by private_key_jwt"
	for _, c := range []struct{ method, key, variable, more, want string }{
		{"CLIENT_SECRET_POST", "clientSecretEnvVarName", "MY_1", "", noSecret},
		{"CLIENT_SECRET_POST", "clientSecretEnvVarName", "MY_1", "MY_1=", noSecret},
		{"PRIVATE_KEY_JWT", "privateKeyEnvVarName", "MY_1", "", noKey},
		// A secret or key instead of a name.
		{"CLIENT_SECRET_POST", "clientSecretEnvVarName", "CSxHushHush", "", noSecret},
		{"PRIVATE_KEY_JWT", "privateKeyEnvVarName", "-----BEGIN HUSH", "", noKey},

		{"OIDC", "oidcTokenFilePathEnvVarName", "MY_1", "ALIBABA_CLOUD_OIDC_TOKEN_FILE=/ack", ""},
		{"CLIENT_SECRET_POST", "clientSecretEnvVarName", "MY_1", "IDAAS_CLIENT_SECRET=hush", ""},
		{"CLIENT_SECRET_POST", "clientSecretEnvVarName", "MY_1", "IDAAS_CLIENT_SECRET_FILE=/s", ""},
		{"PRIVATE_KEY_JWT", "privateKeyEnvVarName", "MY_1", "IDAAS_PRIVATE_KEY_FILE=/k", ""},
		{"PRIVATE_KEY_JWT", "clientSecretEnvVarName", "MY_1", "IDAAS_PRIVATE_KEY_FILE=/k", ""},
		{"OIDC", "oidcTokenFilePathEnvVarName", "MY_1", "IDAAS_OIDC_TOKEN_FILE=/t", ""},
	} {
		text := fmt.Sprintf(`{"authnConfiguration": {"authnMethod": %q, %q: %q, "applicationFederatedCredentialName": "f"}}`, c.method, c.key,
			c.variable)
		environ := withVendorFile(t, text, "IDAAS_DOMAIN=d", "IDAAS_CLIENT_ID=c", c.more)
		if c.want != "" {
			wantFaults(t, faultsOf(t, environ), c.want, inVendorFile+"authnConfiguration."+c.key+": the variable with this name is unset")
			continue
		}
		mustLoad(t, environ)
	}
}

func TestVendorFileUnreadable(t *testing.T) {
	environ := withVendorFile(t, "", "IDAAS_DOMAIN=d", "IDAAS_ACCESS_TOKEN=hush")
	if err := os.Remove("client-config.json"); err != nil {
		t.Fatal(err)
	}
	wantFaults(t, faultsOf(t, environ), `CLOUD_IDAAS_CONFIG_PATH="client-config.json": open client-config.json: no such file or directory`)
}

// A fault in an unused field is a warning.
func TestVendorFilePlaceholders(t *testing.T) {
	const (
		placeholder = `="<a>": a placeholder between < and >; replace it; `
		host        = "accepted: [https://]host[:port] without a path; http:// for loopback only"
		url         = "accepted: [https://]host[:port]/path; http:// for loopback only"
		ignored     = "; ignored, because it is unused"
	)
	secret := []string{"IDAAS_CLIENT_ID=c", "IDAAS_CLIENT_SECRET=hush"}
	ram := []string{"IDAAS_CLIENT_ID=c", "IDAAS_AUTH_METHOD=ram", "IDAAS_ENDPOINT=eiam-developerapi.cn-hangzhou.aliyuncs.com"}
	ready := []string{"IDAAS_ACCESS_TOKEN=hush"}
	for _, c := range []struct {
		text          string
		more          []string
		fault, warned string // without the place
	}{
		{`{"openApiEndpoint": "<a>"}`, secret, "", "openApiEndpoint" + placeholder + host},
		{`{"openApiEndpoint": "<a>"}`, ready, "", "openApiEndpoint" + placeholder + host},
		{`{"open_api_endpoint": "h/path"}`, secret, "", `openApiEndpoint="h/path": a path is not allowed; ` + host},
		{`{"openApiEndpoint": "<a>"}`, ram, "openApiEndpoint" + placeholder + host, ""},
		{`{"tokenEndpoint": "<a>"}`, secret, "tokenEndpoint" + placeholder + url, ""},
		{`{"tokenEndpoint": "<a>"}`, ram, "", "tokenEndpoint" + placeholder + url},
		{`{"tokenEndpoint": "<a>"}`, ready, "", "tokenEndpoint" + placeholder + url},
		{`{"issuer": "<a>"}`, ready, "", `issuer="<a>/token` + strings.TrimPrefix(placeholder, `="<a>`) + url},
		{`{"developerApiEndpoint": "<a>"}`, ready, "developerApiEndpoint" + placeholder + host, ""},
		{`{"tokenEndpoint": "https://d/t", "issuer": "<a>", "deviceAuthorizationEndpoint": "<a>"}`, secret, "", ""},
	} {
		environ := withVendorFile(t, c.text, append(c.more, "IDAAS_DOMAIN=d")...)
		if c.fault != "" {
			wantFaults(t, faultsOf(t, environ), inVendorFile+c.fault)
			continue
		}
		var want []string
		if c.warned != "" {
			want = []string{inVendorFile + c.warned + ignored}
		}
		if got := mustLoad(t, environ).Warnings; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", c.text, got, want)
		}
	}
	environ := withVendorFile(t, `{"openApiEndpoint": "<a>"}`, append(secret, "IDAAS_DOMAIN=d", "IDAAS_TARGETS_FILE=targets.yaml")...)
	if err := os.WriteFile("targets.yaml", []byte("targets: [{consumer: c, credential_providers: all}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFaults(t, faultsOf(t, environ), inVendorFile+"openApiEndpoint"+placeholder+host)
	// A fault in a variable is always fatal.
	environ = withVendorFile(t, "{}", append(secret, "IDAAS_DOMAIN=d", "IDAAS_MANAGEMENT_ENDPOINT=<a>")...)
	wantFaults(t, faultsOf(t, environ), "IDAAS_MANAGEMENT_ENDPOINT"+placeholder+host)
}

// The path may begin with ~, which is not expanded in the environment of a container.
func TestVendorFileAtHome(t *testing.T) {
	environ := withVendorFile(t, `{"clientId": "app_home"}`, "IDAAS_DOMAIN=d", "IDAAS_CLIENT_SECRET=hush")
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for path, home := range map[string]string{
		"~/client-config.json": home, "~/../" + filepath.Base(home) + "/client-config.json": home,
		"~": home + "/client-config.json", " ~/client-config.json ": home + "/",
	} {
		if c := mustLoad(t, append(environ, "CLOUD_IDAAS_CONFIG_PATH="+path, "HOME="+home)); c.ClientID != "app_home" {
			t.Errorf("%q: client %q", path, c.ClientID)
		}
	}
	const noClient = "IDAAS_CLIENT_ID: required by client_secret_post, unless IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE is set"
	for path, problem := range map[string]string{
		"~/none.json": "open " + home + "/none.json: no such file or directory",
		"~someone/f":  "open ~someone/f: no such file or directory",
	} {
		wantFaults(t, faultsOf(t, append(environ, "CLOUD_IDAAS_CONFIG_PATH="+path, "HOME="+home)),
			fmt.Sprintf("CLOUD_IDAAS_CONFIG_PATH=%q: %s", path, problem), noClient)
	}
	wantFaults(t, faultsOf(t, append(environ, "CLOUD_IDAAS_CONFIG_PATH=~/f")),
		`CLOUD_IDAAS_CONFIG_PATH="~/f": open ~/f: no such file or directory`, noClient)
}
