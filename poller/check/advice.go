package check

import (
	_ "embed" // the advice
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	given  = "given" // the method with a ready access token
	viaRAM = "ram"   // the method that uses the management API
)

//go:embed advice.json
var source []byte

// texts is the content of advice.json. {address}, {credential} and {client} depend on the failure.
var texts struct {
	// Remedies are advice; the first that matches is used, and the last matches everything.
	Remedies []struct {
		Reason poller.Reason // empty: any
		Text   string        // part of the text of the error, in lower case
		Advice string
	}
	Phrases map[string]string // parts of several remedies
}

func init() {
	if err := json.Unmarshal(source, &texts, json.MatchCaseInsensitiveNames(true)); err != nil {
		panic(err)
	}
}

const managementAddress = "IDAAS_MANAGEMENT_ENDPOINT (if unset, the region in IDAAS_ENDPOINT)"

var addresses = map[string]string{
	stepDiscovery: "IDAAS_DOMAIN (of an OpenID document: the issuer in it; with IDAAS_TOKEN_ENDPOINT the document is not needed)",
	stepAccess:    "IDAAS_TOKEN_ENDPOINT (if unset, IDAAS_DOMAIN) or, for ram, IDAAS_MANAGEMENT_ENDPOINT",
	stepProviders: managementAddress, stepApplications: managementAddress,
	stepTarget: "IDAAS_ENDPOINT (if unset, IDAAS_DOMAIN and IDAAS_NETWORK)",
}

// otherAudience reports whether access tokens are requested for another API.
func (p *preflight) otherAudience() bool {
	return p.method != given && slices.ContainsFunc(strings.Fields(p.Client.Auth.Scope), func(item string) bool {
		return !strings.HasPrefix(item, "urn:cloud:idaas:pam|")
	})
}

// advice returns the advice for the failure of a step.
func (p *preflight) advice(step string, err error) string {
	reason, text := poller.ReasonOf(err), strings.ToLower(err.Error())
	advice := ""
	for _, r := range texts.Remedies {
		if (r.Reason == "" || r.Reason == reason) && strings.Contains(text, r.Text) {
			advice = r.Advice
			if p.otherAudience() && (strings.Contains(advice, "{grant}") || r.Text == "audience" || reason == poller.Unauthorized) {
				advice = "{audience}"
			}
			break
		}
	}
	for phrase, meaning := range texts.Phrases {
		advice = strings.ReplaceAll(advice, phrase, meaning)
	}
	identity, management := p.Client.Auth, addresses[step] == managementAddress
	if management {
		identity.Method = viaRAM
	}
	credential := identity.Credential()
	if p.method == given && !management {
		credential = "the access token (IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE)"
	}
	return strings.NewReplacer("{address}", addresses[step], "{credential}", credential, "{client}", p.Client.Auth.ClientID).Replace(advice)
}
