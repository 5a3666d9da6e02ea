package config

import (
	"context"
	_ "embed" // the keys
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// vendorKeys has lines with a key of a client-config.json and its setting; the first non-empty value of a setting is used.
//
//go:embed vendorkeys.txt
var vendorKeys string

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
	for line := range strings.Lines(vendorKeys) {
		key, setting, _ := strings.Cut(strings.TrimSpace(line), " ")
		at, value := place+key, member(top, key)
		text, ok := value.(string)
		if !ok && value != nil {
			v.faults = append(v.faults, Fault{Name: at, Problem: "not a string"})
		}
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		switch {
		case setting == "IDAAS_AUTH_METHOD":
			text = strings.Replace(strings.ToLower(text), "plugin", "ram", 1)
		case setting == "IDAAS_PKCS7_FILE":
			// Only an unknown metadata service needs a file.
			if v.values["IDAAS_AUTH_METHOD"] == "pkcs7" && given[setting] == "" && !strings.HasPrefix(text, "ALIBABA_CLOUD_") {
				v.faults = append(v.faults, Fault{at, text, "unknown metadata service; set IDAAS_PKCS7_FILE; accepted: ALIBABA_CLOUD_ECS"})
			}
			continue
		case key == "issuer":
			text = strings.TrimRight(text, "/") + "/token"
		case strings.HasSuffix(key, "EnvVarName"):
			// The name is not shown, because it may be the secret by mistake.
			if text = given[text]; text == "" {
				v.unset = append(v.unset, Fault{Name: at, Problem: "the variable with this name is unset"})
			}
		}
		set := given[setting] + given[setting+"_FILE"] + v.values[setting]
		if setting == "IDAAS_AUTH_METHOD" {
			set += given["IDAAS_ACCESS_TOKEN"] + given["IDAAS_ACCESS_TOKEN_FILE"]
		}
		if plugin, _ := member(authn, "pluginName").(string); set == "" && value == "PLUGIN" && plugin != ramPlugin {
			v.faults = append(v.faults, Fault{place + "authnConfiguration.pluginName", plugin, "unknown plugin; accepted: " + ramPlugin})
		}
		if set == "" && text != "" {
			v.values[setting], v.places[setting] = text, at
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
