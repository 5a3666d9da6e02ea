package config

import (
	"context"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// vendorKeys are the keys of a client-config.json for settings; the first non-empty value of a setting is used.
var vendorKeys = []struct{ key, setting string }{
	{"idaasInstanceId", "IDAAS_INSTANCE_ID"},
	{"developerApiEndpoint", "IDAAS_ENDPOINT"},
	{"openApiEndpoint", "IDAAS_MANAGEMENT_ENDPOINT"},
	{"tokenEndpoint", "IDAAS_TOKEN_ENDPOINT"},
	{"issuer", "IDAAS_TOKEN_ENDPOINT"},
	{"clientId", "IDAAS_CLIENT_ID"},
	{"scope", "IDAAS_SCOPE"},
	{"authnConfiguration.authnMethod", "IDAAS_AUTH_METHOD"},
	{"authnConfiguration.clientSecretEnvVarName", "IDAAS_CLIENT_SECRET"},
	{"authnConfiguration.privateKeyEnvVarName", "IDAAS_PRIVATE_KEY_FILE"},
	{"authnConfiguration.oidcTokenFilePath", "IDAAS_OIDC_TOKEN_FILE"},
	{"authnConfiguration.oidcTokenFilePathEnvVarName", "IDAAS_OIDC_TOKEN_FILE"},
	{"authnConfiguration.applicationFederatedCredentialName", "IDAAS_FEDERATED_CREDENTIAL_NAME"},
	{"authnConfiguration.clientDeployEnvironment", "IDAAS_PKCS7_FILE"},
	{"authnConfiguration.clientX509Certificate", "IDAAS_CERTIFICATE_FILE"},
	{"authnConfiguration.x509CertChains", "IDAAS_CERTIFICATE_CHAIN_FILE"},
}

// ramPlugin is the name of the vendor's plugin for RAM credentials.
const ramPlugin = "alibabacloudPluginCredentialProvider"

// vendorFile has what a client-config.json adds to the environment.
type vendorFile struct {
	values, places map[string]string // values from the file and their places in it, by setting
	faults, unset  Faults            // unset are the unset variables that the file names
}

// readVendorFile reads the file of CLOUD_IDAAS_CONFIG_PATH.
func readVendorFile(given map[string]string) vendorFile {
	const name = "CLOUD_IDAAS_CONFIG_PATH"
	path := given[name]
	if path == "" {
		return vendorFile{}
	}
	file := path
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || rest[0] == '/') && given["HOME"] != "" {
		file = given["HOME"] + rest // as in the vendor's SDKs
	}
	data, err := disk.Read(context.Background(), file, maxFile)
	var top map[string]any
	if err == nil {
		err = json.Unmarshal(data, &top)
	}
	if err != nil {
		return vendorFile{faults: Faults{{name, path, err.Error()}}}
	}
	return fromVendor(name+" "+path+": ", top, given)
}

func fromVendor(place string, top map[string]any, given map[string]string) vendorFile {
	v := vendorFile{values: make(map[string]string), places: make(map[string]string)}
	section := member(top, "authnConfiguration")
	authn, ok := section.(map[string]any)
	if !ok && section != nil {
		v.faults = append(v.faults, Fault{Name: place + "authnConfiguration", Problem: "not an object"})
	}
	for key, value := range authn {
		top["authnConfiguration."+key], top["authn_configuration."+key] = value, value
	}
	for _, k := range vendorKeys {
		at, value := place+k.key, member(top, k.key)
		text, ok := value.(string)
		if !ok && value != nil {
			v.faults = append(v.faults, Fault{Name: at, Problem: "not a string"})
		}
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		switch {
		case k.setting == "IDAAS_AUTH_METHOD":
			text = strings.Replace(strings.ToLower(text), "plugin", "ram", 1)
		case k.setting == "IDAAS_PKCS7_FILE":
			// Only an unknown metadata service needs a file.
			if v.values["IDAAS_AUTH_METHOD"] == "pkcs7" && given[k.setting] == "" && !strings.HasPrefix(text, "ALIBABA_CLOUD_") {
				v.faults = append(v.faults, Fault{at, text, "unknown metadata service; set IDAAS_PKCS7_FILE; accepted: ALIBABA_CLOUD_ECS"})
			}
			continue
		case k.key == "issuer":
			text = strings.TrimRight(text, "/") + "/token"
		case strings.HasSuffix(k.key, "EnvVarName"):
			// The name is not shown, because it may be the secret by mistake.
			if text = given[text]; text == "" {
				v.unset = append(v.unset, Fault{Name: at, Problem: "the variable with this name is unset"})
			}
		}
		set := given[k.setting] + given[k.setting+"_FILE"] + v.values[k.setting]
		if k.setting == "IDAAS_AUTH_METHOD" {
			set += given["IDAAS_ACCESS_TOKEN"] + given["IDAAS_ACCESS_TOKEN_FILE"]
		}
		if plugin, _ := member(authn, "pluginName").(string); set == "" && value == "PLUGIN" && plugin != ramPlugin {
			v.faults = append(v.faults, Fault{place + "authnConfiguration.pluginName", plugin, "unknown plugin; accepted: " + ramPlugin})
		}
		if set == "" && text != "" {
			v.values[k.setting], v.places[k.setting] = text, at
		}
	}
	return v
}

// member returns the member with a name in this spelling or with underscores; nil if there is none.
func member(members map[string]any, key string) any {
	if value := members[key]; value != nil {
		return value
	}
	return members[regexp.MustCompile("[A-Z]").ReplaceAllStringFunc(key, func(s string) string { return "_" + strings.ToLower(s) })]
}
