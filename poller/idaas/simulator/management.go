package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RAMUser signs calls of the management API, EIAM 2021-12-01, at the path "/".
type RAMUser struct {
	AccessKeyID     string
	AccessKeySecret string
	SecurityToken   string    // of a role
	Expires         time.Time // of the SecurityToken; zero: never
	Actions         []string  // allowed, such as "eiam:ListCredentialProviders"; nil: all
}

// WithRAM returns c with the management API for users. It is not a method, so that a binary without calls of it does not contain it.
func WithRAM(c Config, users ...RAMUser) Config {
	c.ram, c.manage = users, (*Server).manage
	return c
}

const (
	maxAge    = 15 * time.Minute
	nonceKept = 2 * maxAge
)

// gateway returns an error response of the gateway.
func gateway(status int, code, message string) *answer {
	a := ShapeGateway.failure(status, code, message)
	return &a
}

// manage responds to a signed call.
func (s *Server) manage(r *http.Request) answer {
	user, refused := s.signer(r)
	if refused != nil {
		return *refused
	}
	action, query := r.Header.Get("X-Acs-Action"), r.URL.Query()
	handle := map[string]func(*http.Request, url.Values) answer{
		"GenerateOauthToken": s.generateOauthToken, "ListCredentialProviders": s.listCredentialProviders, "ListApplications": s.listApplications,
	}[action]
	switch {
	case r.Header.Get("X-Acs-Version") != "2021-12-01" || handle == nil:
		return *gateway(http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.")
	case user.Actions != nil && !slices.Contains(user.Actions, "eiam:"+action):
		return *gateway(http.StatusForbidden, "NoPermission", "You are not authorized to perform this operation. Action: eiam:"+action)
	case query.Get("InstanceId") == "":
		return *gateway(http.StatusBadRequest, "MissingInstanceId", "InstanceId is mandatory for this action.")
	case query.Get("InstanceId") != s.config.InstanceID:
		return *gateway(http.StatusNotFound, "EntityNotFound.Instance", "The specified instance is not found.")
	}
	return handle(r, query)
}

// signer verifies the signature ACS3-HMAC-SHA256 of a request without a body.
func (s *Server) signer(r *http.Request) (RAMUser, *answer) {
	refuse := func(status int, code, message string) (RAMUser, *answer) {
		return RAMUser{}, gateway(status, code, message)
	}
	fields := map[string]string{}
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	names := strings.Split(fields["SignedHeaders"], ";")
	required := []string{"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-acs-") {
			required = append(required, name)
		}
	}
	if scheme != "ACS3-HMAC-SHA256" || !slices.IsSorted(names) ||
		slices.ContainsFunc(required, func(name string) bool { return !slices.Contains(names, name) }) {
		return refuse(http.StatusBadRequest, "IncompleteSignature", "The request signature does not conform to Aliyun standards.")
	}
	now := s.config.Now()
	date, err := time.Parse("2006-01-02T15:04:05Z", r.Header.Get("X-Acs-Date"))
	if age := now.Sub(date); err != nil || age.Abs() > maxAge {
		return refuse(http.StatusBadRequest, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
	}
	at := slices.IndexFunc(s.config.ram, func(u RAMUser) bool { return u.AccessKeyID == fields["Credential"] })
	if at < 0 {
		return refuse(http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
	}
	user := s.config.ram[at]
	switch {
	case r.Header.Get("X-Acs-Security-Token") != user.SecurityToken:
		return refuse(http.StatusBadRequest, "InvalidSecurityToken.MismatchWithAccessKey", "Specified SecurityToken mismatch with the AccessKey.")
	case !user.Expires.IsZero() && !now.Before(user.Expires):
		return refuse(http.StatusBadRequest, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
	}
	empty := sha256.Sum256(nil)
	if sum := fmt.Sprintf("%x", empty); r.Header.Get("X-Acs-Content-Sha256") != sum || r.ContentLength > 0 ||
		fields["Signature"] != sign(r, names, sum, user.AccessKeySecret) {
		return refuse(http.StatusBadRequest, "SignatureDoesNotMatch", "Specified signature is not matched with our calculation.")
	}
	nonce := user.AccessKeyID + " " + r.Header.Get("X-Acs-Signature-Nonce")
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.nonces, func(_ string, end time.Time) bool { return !end.After(now) })
	if _, used := s.nonces[nonce]; used {
		return refuse(http.StatusBadRequest, "SignatureNonceUsed", "Specified signature nonce was used already.")
	}
	s.nonces[nonce] = now.Add(nonceKept)
	return user, nil
}

// sign returns the expected signature of r.
func sign(r *http.Request, names []string, bodySum, secret string) string {
	values := r.URL.Query()
	var pairs, headers []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		pairs = append(pairs, percent(name)+"="+percent(values.Get(name)))
	}
	for _, name := range names {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		headers = append(headers, name+":"+strings.TrimSpace(value)+"\n")
	}
	request := strings.Join([]string{
		r.Method, r.URL.EscapedPath(), strings.Join(pairs, "&"), strings.Join(headers, ""), strings.Join(names, ";"), bodySum,
	}, "\n")
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "ACS3-HMAC-SHA256\n%x", sha256.Sum256([]byte(request)))
	return fmt.Sprintf("%x", mac.Sum(nil))
}

// percent encodes all but the unreserved characters of RFC 3986.
func percent(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// listOf returns the values of name.1, name.2 and so on.
func listOf(query url.Values, name string) []string {
	var list []string
	for i := 1; query.Has(name + "." + strconv.Itoa(i)); i++ {
		list = append(list, query.Get(name+"."+strconv.Itoa(i)))
	}
	return list
}

func (s *Server) generateOauthToken(r *http.Request, query url.Values) answer {
	id, audience, values := query.Get("ApplicationId"), query.Get("Audience"), listOf(query, "ScopeValues")
	client, known := s.clients[id]
	switch {
	case id == "" || audience == "" || len(values) == 0:
		return *gateway(http.StatusBadRequest, "MissingParameter", "ApplicationId, Audience and ScopeValues are mandatory for this action.")
	case !known:
		return *gateway(http.StatusNotFound, "EntityNotFound.Application", "The specified application is not found.")
	}
	for i := range values {
		values[i] = audience + "|" + values[i]
	}
	scope, refused := client.granted(strings.Join(values, " "))
	if refused != nil {
		return *refused
	}
	token, end, lifetime, err := s.mint(r, client, scope)
	if err != nil {
		return failure(http.StatusInternalServerError, "server_error", err.Error())
	}
	return answer{status: http.StatusOK, key: "TokenResponse", encode: func(e *encoder) {
		inner := encoder{alteration: e.alteration}
		inner.open()
		inner.text("AccessToken", token)
		inner.text("TokenType", "Bearer")
		inner.int("ExpiresIn", int64(lifetime/time.Second))
		inner.int("ExpiresAt", end.Unix())
		inner.end()
		e.open()
		e.text("RequestId", e.requestID)
		e.raw("TokenResponse", string(inner.buf))
		e.end()
	}}
}
