package simulator

import (
	"cmp"
	"net/http"
)

// discover returns the two configuration documents.
func (s *Server) discover(r *http.Request) answer {
	if r.Method != http.MethodGet {
		return failure(http.StatusMethodNotAllowed, "method_not_allowed", "use GET")
	}
	issuer := s.baseURL(r) + IssuerPath
	if r.URL.Path == InstanceDiscoveryPath {
		return answer{status: http.StatusOK, key: "instance_id", encode: func(e *encoder) {
			e.open()
			e.text("instance_id", s.config.InstanceID)
			e.text("default_authorization_server_issuer", issuer)
			endpoints := encoder{}
			endpoints.open()
			endpoints.text("internet", cmp.Or(s.config.InternetEndpoint, s.baseURL(r)))
			endpoints.text("vpc", cmp.Or(s.config.VPCEndpoint, s.baseURL(r)))
			endpoints.end()
			e.raw("developer_api_endpoint", string(endpoints.buf))
			e.text("cli_client_id", "app_cli")
			e.end()
		}}
	}
	return answer{status: http.StatusOK, key: "token_endpoint", encode: func(e *encoder) {
		e.open()
		e.text("issuer", issuer)
		e.text("token_endpoint", s.tokenEndpoint(r))
		e.text("jwks_uri", issuer+"/jwks")
		e.raw("grant_types_supported", `["client_credentials"]`)
		e.raw("token_endpoint_auth_methods_supported",
			`["client_secret_basic","client_secret_post","client_secret_jwt","private_key_jwt"]`)
		e.end()
	}}
}
