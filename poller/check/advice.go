package check

import (
	"cmp"
	"slices"
	"strings"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	grant = "in the IDaaS console, grant the client on the built-in PAM application the feature permission " +
		"'Query authentication tokens' and the data permission for the credential provider"
	instances = "check IDAAS_INSTANCE_ID, and that IDAAS_ENDPOINT is that of the instance's region"
	providers = "check the provider in IDAAS_TARGETS or IDAAS_TARGETS_FILE: its identifier, neither its name nor its id 'atp_…'"
	consumers = "check the consumer id in IDAAS_TARGETS or IDAAS_TARGETS_FILE"
	support   = "try again later; if it stays, give the request id to the vendor's support"
	network   = "check {address}, firewalls, and whether HTTPS_PROXY is needed; IDAAS_NETWORK=vpc works inside the VPC only"
	given     = "given"
	intruder  = "something else answers there (a proxy, a login page?): check {address}"
)

type remedy struct {
	reason poller.Reason // empty: any
	text   string        // part of the error's, in lower case
	advice string        // {address}, {credential} and {client} are filled in
}

// remedies say what to do, the first that fits; the last fits anything.
var remedies = []remedy{
	{poller.Connection, "proxy", "the proxy on the way failed: check scheme, address, user and password in HTTPS_PROXY, or name the host in NO_PROXY"},
	{poller.Connection, "socks", "the proxy on the way failed: check scheme, address, user and password in HTTPS_PROXY, or name the host in NO_PROXY"},
	{poller.Connection, "lookup ", "the host name does not resolve here: see to this machine's DNS; " + network},
	{poller.Connection, "unknown authority", "give that authority's certificate in IDAAS_CA_FILE, if it is to be trusted"},
	{poller.Connection, "expired", "its certificate is not valid (any more): have it renewed, or set this machine's clock"},
	{poller.Connection, "x509: ", "its certificate is for other host names: check {address}"},
	{poller.Connection, "https client", "that port speaks no TLS: check the port in {address}"},
	{poller.Connection, "tls: first record", "that port speaks no TLS: check the port in {address}"},
	{poller.Connection, "refused", "nothing listens there: " + network},
	{poller.Connection, "", network},
	{poller.Timeout, "", "no answer within IDAAS_REQUEST_TIMEOUT: " + network},
	{poller.Throttled, "", "lower IDAAS_RATE_LIMIT, or have the quota of this API raised in the console's Quota Center"},
	{poller.ServerError, "", support},

	// Of discovery.
	{"", "developer_api_endpoint", "the instance names no such endpoint, or not a safe one: change IDAAS_NETWORK, or set IDAAS_ENDPOINT"},
	{"", " document: ", "not an instance's domain, or " + intruder + ", or set IDAAS_INSTANCE_ID, IDAAS_ENDPOINT and IDAAS_TOKEN_ENDPOINT"},

	{poller.Malformed, "", intruder},
	{poller.AccessToken, "open ", "let the user this runs as read that file, or change where it is: {credential}"},
	{"", "license", "the instance's edition does not include it: order credential management (PAM) in the IDaaS console"},
	{"", "authorized by resource server", grant},
	{"", "access_denied", grant},
	{"", "audience", "IDAAS_TOKEN_ENDPOINT, if set, must be spelt as the instance's discovery has it; " +
		"an ID token must be for the audience that its IDAAS_FEDERATED_CREDENTIAL_NAME wants"},
	{"", "scope", "IDAAS_SCOPE, or what a ready access token was made for, should be " +
		"'urn:cloud:idaas:pam|authentication_token:read'; " + grant},
	{poller.Forbidden, "", grant},
	{poller.NotFound, "provider", providers},
	{poller.NotFound, "consumer", consumers},
	{poller.NotFound, "instance", instances},
	{poller.NotFound, "", instances + "; " + providers},
	{poller.Unauthorized, "", "the access token has expired, was revoked or is another instance's: renew IDAAS_ACCESS_TOKEN or " +
		"IDAAS_ACCESS_TOKEN_FILE, if set; IDAAS_TOKEN_ENDPOINT, IDAAS_INSTANCE_ID and IDAAS_ENDPOINT must be of one instance"},
	{poller.ClientError, "", "set IDAAS_PAGE_SIZE=20 or less; " + consumers + "; if it redirects, check IDAAS_ENDPOINT"},

	// Of a token endpoint.
	{"", "invalid_client", "{credential} does not belong to client {client} (IDAAS_CLIENT_ID), or that client may not use " +
		"IDAAS_AUTH_METHOD; a wrong clock can do that, too"},
	{"", "expired", "{credential} was used too late: renew it, or set this machine's clock"},
	{"", "", "check {credential}, IDAAS_AUTH_METHOD and IDAAS_TOKEN_ENDPOINT"},
}

var addresses = map[string]string{
	stepDiscovery: "IDAAS_DOMAIN (of an OpenID document: the issuer it names; IDAAS_TOKEN_ENDPOINT does without)",
	stepAccess:    "IDAAS_TOKEN_ENDPOINT (if unset, IDAAS_DOMAIN)",
	stepTarget:    "IDAAS_ENDPOINT (if unset, IDAAS_DOMAIN and IDAAS_NETWORK)",
}

var credentials = map[string]string{
	given:             "the access token (IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE)",
	"private_key_jwt": "the private key (IDAAS_PRIVATE_KEY_FILE)",
	"oidc":            "the ID token (IDAAS_OIDC_TOKEN_FILE, for IDAAS_FEDERATED_CREDENTIAL_NAME)",
}

// advice says what to do about the failure of a step.
func (p *preflight) advice(step string, err error) string {
	credential := cmp.Or(credentials[p.method], "the secret (IDAAS_CLIENT_SECRET or IDAAS_CLIENT_SECRET_FILE)")
	fill := strings.NewReplacer("{address}", addresses[step], "{credential}", credential, "{client}", p.Client.Auth.ClientID)
	reason, text := poller.ReasonOf(err), strings.ToLower(err.Error())
	first := slices.IndexFunc(remedies, func(r remedy) bool {
		return (r.reason == "" || r.reason == reason) && strings.Contains(text, r.text)
	})
	return fill.Replace(remedies[first].advice)
}
