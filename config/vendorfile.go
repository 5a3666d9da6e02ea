package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const maxVendorFileBytes = 1 << 20

// vendorKeys are the texts in a client-config.json that stand for a setting; of several for one, the first given counts.
var vendorKeys = []struct{ section, key, setting string }{
	{"", "idaasInstanceId", "IDAAS_INSTANCE_ID"},
	{"", "developerApiEndpoint", "IDAAS_ENDPOINT"},
	{"", "tokenEndpoint", "IDAAS_TOKEN_ENDPOINT"},
	{"", "issuer", "IDAAS_TOKEN_ENDPOINT"},
	{"", "clientId", "IDAAS_CLIENT_ID"},
	{"", "scope", "IDAAS_SCOPE"},
	{"authnConfiguration", "identityType", "IDAAS_AUTH_METHOD"},
	{"authnConfiguration", "authenticationSubject", "IDAAS_AUTH_METHOD"},
	{"authnConfiguration", "authnMethod", "IDAAS_AUTH_METHOD"},
	{"authnConfiguration", "clientSecretEnvVarName", "IDAAS_CLIENT_SECRET"},
	{"authnConfiguration", "privateKeyEnvVarName", "IDAAS_PRIVATE_KEY_FILE"},
	{"authnConfiguration", "oidcTokenFilePathEnvVarName", "IDAAS_OIDC_TOKEN_FILE"},
	{"authnConfiguration", "oidcTokenFilePath", "IDAAS_OIDC_TOKEN_FILE"},
	{"authnConfiguration", "applicationFederatedCredentialName", "IDAAS_FEDERATED_CREDENTIAL_NAME"},
}

// vendorFile is what a client-config.json adds to the variables given.
type vendorFile struct {
	path           string
	given          map[string]string
	values, places map[string]string // by setting: what is taken from the file, and where in it that stands
	unset          map[string]Fault  // by setting: there is nothing, as the variable that the file names for it is not set
	variables      []string          // all that the file names
	warnings       []string
	faults         Faults
}

// readVendorFile reads the file that CLOUD_IDAAS_CONFIG_PATH names among the variables given.
func readVendorFile(given map[string]string) vendorFile {
	path := given["CLOUD_IDAAS_CONFIG_PATH"]
	if path == "" {
		return vendorFile{}
	}
	data, err := readFile(path, maxVendorFileBytes)
	if err != nil {
		return vendorFile{faults: Faults{{Name: "CLOUD_IDAAS_CONFIG_PATH", Value: path, Problem: err.Error()}}}
	}
	return parseVendorFile(path, data, given)
}

func parseVendorFile(path string, data []byte, given map[string]string) vendorFile {
	v := vendorFile{path: path, given: given, values: map[string]string{}, places: map[string]string{}, unset: map[string]Fault{}}
	var top map[string]jsontext.Value
	if err := json.Unmarshal(data, &top); err != nil || top == nil {
		problem := "not a JSON object"
		if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
			problem = fmt.Sprintf("line %d: %v", 1+bytes.Count(data[:syntax.ByteOffset], []byte("\n")), syntax.Err)
		}
		v.faults = Faults{{Name: "CLOUD_IDAAS_CONFIG_PATH", Value: path, Problem: problem}}
		return v
	}
	var authn, http map[string]jsontext.Value
	v.read(top, "", "authnConfiguration", &authn, "an object")
	v.read(top, "", "httpConfiguration", &http, "an object")
	sections := map[string]map[string]jsontext.Value{"": top, "authnConfiguration": authn}
	for _, k := range vendorKeys {
		var text string
		v.read(sections[k.section], k.section, k.key, &text, "a text")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		switch k.key {
		case "identityType", "authenticationSubject":
			if text != "HUMAN" {
				continue
			}
		case "authnMethod":
			if ours := strings.ToLower(text); slices.Contains(lookup(k.setting).oneOf, ours) {
				text = ours
			}
		case "issuer":
			text = strings.TrimRight(text, "/") + "/token"
		}
		v.set(k.setting, v.place(k.section, k.key), text)
	}
	var unsafe bool
	v.read(http, "httpConfiguration", "unsafeIgnoreSslCert", &unsafe, "true or false")
	if unsafe && given["IDAAS_CA_FILE"] == "" {
		v.warnings = []string{v.place("httpConfiguration", "unsafeIgnoreSslCert") + ": ignored, certificates are always verified; IDAAS_CA_FILE adds roots to trust"}
	}
	return v
}

func (v *vendorFile) place(section, key string) string {
	return "CLOUD_IDAAS_CONFIG_PATH " + v.path + ": " + strings.TrimPrefix(section+"."+key, ".")
}

// read decodes the member of a section that has key as its name, in this spelling or with underscores, if there is one.
func (v *vendorFile) read(members map[string]jsontext.Value, section, key string, into any, kind string) {
	snake := regexp.MustCompile("[A-Z]").ReplaceAllStringFunc(key, func(s string) string { return "_" + strings.ToLower(s) })
	value, other := members[key], members[snake]
	switch {
	case value == nil:
		value = other
	case other != nil && !bytes.Equal(value, other):
		v.faults = append(v.faults, Fault{Name: v.place(section, key), Problem: "given with another value as " + snake})
	}
	// What Java's writers put for an unset one.
	if value == nil || value.Kind() == 'n' {
		return
	}
	if json.Unmarshal(value, into) != nil {
		v.faults = append(v.faults, Fault{Name: v.place(section, key), Problem: "not " + kind})
	}
}

// set takes text, which stands at place, for a setting that neither the variables nor an earlier key give.
func (v *vendorFile) set(setting, place, text string) {
	variable := ""
	if strings.HasSuffix(place, "EnvVarName") {
		variable, text = text, v.given[text]
		v.variables = append(v.variables, variable)
	}
	hasAccessToken := v.given["IDAAS_ACCESS_TOKEN"] != "" || v.given["IDAAS_ACCESS_TOKEN_FILE"] != ""
	switch {
	case v.values[setting] != "", v.given[setting] != "", v.given[setting+"_FILE"] != "", setting == "IDAAS_AUTH_METHOD" && hasAccessToken:
	case text != "":
		v.values[setting], v.places[setting] = text, place
		delete(v.unset, setting)
	case regexp.MustCompile("^[A-Z_][A-Z0-9_]*$").MatchString(variable):
		v.unset[setting] = Fault{Name: place, Value: variable, Problem: "this variable is not set"}
	default: // possibly the secret itself, by mistake
		v.unset[setting] = Fault{Name: place, Problem: "not the name of a variable that is set"}
	}
}
