package check

import (
	_ "embed" // the advice
	"encoding/json"
	"slices"
	"strings"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	given  = "given" // the method of who has a ready access token
	viaRAM = "ram"   // that of who asks the management API for one
)

//go:embed advice.json
var source []byte

// known is what advice.json has. {address}, {credential} and {client} in it depend on the failure.
var known struct {
	// Remedies say what to do, the first that fits; the last fits anything.
	Remedies []struct {
		Reason poller.Reason // empty: any
		Text   string        // part of the error's, in lower case
		Advice string
	}
	Phrases map[string]string // that stand in several of them
}

func init() {
	if err := json.Unmarshal(source, &known); err != nil {
		panic(err)
	}
}

const managementAddress = "IDAAS_MANAGEMENT_ENDPOINT (if unset, the region in IDAAS_ENDPOINT)"

var addresses = map[string]string{
	stepDiscovery: "IDAAS_DOMAIN (of an OpenID document: the issuer it names; IDAAS_TOKEN_ENDPOINT does without)",
	stepAccess:    "IDAAS_TOKEN_ENDPOINT (if unset, IDAAS_DOMAIN) or, for ram, IDAAS_MANAGEMENT_ENDPOINT",
	stepProviders: managementAddress, stepApplications: managementAddress,
	stepTarget: "IDAAS_ENDPOINT (if unset, IDAAS_DOMAIN and IDAAS_NETWORK)",
}

// otherAudience reports whether access tokens are requested for another API than this one.
func (p *preflight) otherAudience() bool {
	return p.method != given && slices.ContainsFunc(strings.Fields(p.Client.Auth.Scope), func(item string) bool {
		return !strings.HasPrefix(item, "urn:cloud:idaas:pam|")
	})
}

// advice says what to do about the failure of a step.
func (p *preflight) advice(step string, err error) string {
	reason, text := poller.ReasonOf(err), strings.ToLower(err.Error())
	advice := ""
	for _, r := range known.Remedies {
		if (r.Reason == "" || r.Reason == reason) && strings.Contains(text, r.Text) {
			advice = r.Advice
			if p.otherAudience() && (strings.Contains(advice, "{grant}") || r.Text == "audience" || reason == poller.Unauthorized) {
				advice = "{audience}"
			}
			break
		}
	}
	for phrase, meaning := range known.Phrases {
		advice = strings.ReplaceAll(advice, phrase, meaning)
	}
	identity, managed := p.Client.Auth, addresses[step] == managementAddress
	if managed {
		identity.Method = viaRAM
	}
	credential := identity.Credential()
	if p.method == given && !managed {
		credential = "the access token (IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE)"
	}
	return strings.NewReplacer("{address}", addresses[step], "{credential}", credential, "{client}", p.Client.Auth.ClientID).Replace(advice)
}
