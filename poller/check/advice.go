package check

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
)

const (
	grant = "in the IDaaS console, grant the client on the built-in PAM application the feature permission " +
		"'Query authentication tokens' and the data permission for the credential provider"
	instances = "check IDAAS_INSTANCE_ID, and that IDAAS_ENDPOINT is that of the instance's region"
	providers = "check the provider in IDAAS_TARGETS or IDAAS_TARGETS_FILE: its identifier, neither its name nor its id 'atp_…'"
	consumers = "check the consumer id in IDAAS_TARGETS or IDAAS_TARGETS_FILE"
	support   = "try again later; if it stays, give the request id to the vendor's support"
	intruder  = "something else answers there (a proxy, a login page?): check "
)

// codes are parts of the API's own error codes, with what to do.
var codes = []struct{ part, advice string }{
	{"operation_denied_by_license", "the instance's edition does not include it: order credential management (PAM) in the IDaaS console"},
	{"scope", "IDAAS_SCOPE, or what a ready access token was made for, should be 'urn:cloud:idaas:pam|authentication_token:read'; " + grant},
	{"access_denied", grant},
	{"invalid_audience", "IDAAS_TOKEN_ENDPOINT, if set, must be spelt as the instance's discovery has it; an ID token must be for " +
		"the audience that its IDAAS_FEDERATED_CREDENTIAL_NAME wants"},
	{"instance", instances},
	{"provider", providers},
	{"consumer", consumers},
}

var reasons = map[poller.Reason]string{
	poller.Forbidden:    grant,
	poller.NotFound:     instances + "; " + providers,
	poller.Unauthorized: "are IDAAS_TOKEN_ENDPOINT, IDAAS_INSTANCE_ID and IDAAS_ENDPOINT of one instance?",
	poller.ClientError: "the API takes the request for a wrong one: set IDAAS_PAGE_SIZE=20 or less; " + consumers +
		"; if it redirects, check IDAAS_ENDPOINT",
}

// advice says what to do about the failure of a step.
func (p *preflight) advice(step string, err error) string {
	reason, code := poller.ReasonOf(err), idaas.CodeOf(err)
	switch {
	case reason == poller.Connection, reason == poller.Timeout:
		return unreachable(p.setting(step), err)
	case reason == poller.Throttled:
		return "lower IDAAS_RATE_LIMIT, or have the quota of this API raised in the console's Quota Center"
	case reason == poller.ServerError:
		return support
	case step == stepDiscovery && strings.Contains(err.Error(), "developer_api_endpoint"):
		return "the instance names no such endpoint: change IDAAS_NETWORK, or set IDAAS_ENDPOINT"
	case step == stepDiscovery:
		return "not an instance's domain, or " + intruder + "IDAAS_DOMAIN, or set IDAAS_INSTANCE_ID, IDAAS_ENDPOINT and IDAAS_TOKEN_ENDPOINT"
	case reason == poller.Malformed:
		return intruder + p.setting(step)
	case strings.Contains(err.Error(), "not been authorized by resource server"):
		return grant
	case reason == poller.Unauthorized && p.ready():
		return "the access token has expired, was revoked or is another instance's: renew IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE"
	}
	for _, c := range codes {
		if strings.Contains(code, c.part) {
			return c.advice
		}
	}
	if advice, ok := reasons[reason]; ok {
		return advice
	}
	return p.credential(code, err)
}

func (p *preflight) ready() bool { return p.Client.AccessToken.Given() }

// credential is about what the token endpoint refuses, or what cannot even be sent there.
func (p *preflight) credential(code string, err error) string {
	method := p.Client.Auth.Method
	what, settings, clock := "the secret", "IDAAS_CLIENT_SECRET or IDAAS_CLIENT_SECRET_FILE", ""
	switch method {
	case "private_key_jwt":
		what, settings = "the private key", "IDAAS_PRIVATE_KEY_FILE"
	case "oidc":
		what, settings = "the ID token", "IDAAS_OIDC_TOKEN_FILE and IDAAS_FEDERATED_CREDENTIAL_NAME"
	}
	if method == "oidc" || strings.HasSuffix(method, "_jwt") {
		clock = "; a wrong clock does that too"
	}
	if p.ready() {
		settings, clock = "IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE", ""
	}
	file, unreadable := errors.AsType[*fs.PathError](err)
	switch {
	case unreadable:
		return "let the user this runs as read " + file.Path + ": see " + settings
	case p.ready():
		return "renew " + settings
	case strings.HasPrefix(code, "invalid_client"):
		return what + " does not belong to client " + p.Client.Auth.ClientID + ": see IDAAS_CLIENT_ID, " + settings + clock
	case code == "expired_token":
		return what + " is used too late: see " + settings + clock
	}
	return "see " + settings + ", IDAAS_AUTH_METHOD and IDAAS_TOKEN_ENDPOINT" + clock
}

// setting names where the address that a step asks comes from.
func (p *preflight) setting(step string) string {
	switch {
	case step == stepTarget && p.Client.Endpoint != "":
		return "IDAAS_ENDPOINT"
	case step == stepAccess && p.Client.TokenEndpoint != "":
		return "IDAAS_TOKEN_ENDPOINT"
	case step == stepTarget:
		return "IDAAS_DOMAIN and IDAAS_NETWORK (or set IDAAS_ENDPOINT)"
	}
	return "IDAAS_DOMAIN"
}

// unreachable is about a connection that does not come about.
func unreachable(setting string, err error) string {
	network := setting + ", firewalls, and whether HTTPS_PROXY is needed; a VPC endpoint (IDAAS_NETWORK=vpc) answers inside the VPC only"
	switch {
	case is[*net.DNSError](err):
		return "the host name does not resolve: check this machine's DNS, " + network
	case is[x509.UnknownAuthorityError](err):
		return "its certificate is from an authority unknown here: give that one's certificate in IDAAS_CA_FILE, if it is to be trusted"
	case is[x509.HostnameError](err):
		return "its certificate is for other host names: check " + setting
	case is[x509.CertificateInvalidError](err):
		return "its certificate is not valid (any more): have it renewed, or set this machine's clock; or check " + setting
	case errors.Is(err, http.ErrSchemeMismatch), is[tls.RecordHeaderError](err):
		return "that port speaks no TLS: check the port in " + setting
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: check " + network
	case poller.ReasonOf(err) == poller.Timeout:
		return "no answer within IDAAS_REQUEST_TIMEOUT: check " + network
	}
	return "check " + network
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
