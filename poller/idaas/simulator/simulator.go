// Package simulator is the Alibaba Cloud IDaaS API in memory: an http.Handler with injectable faults.
package simulator

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Operations, as in Fault.Operation, Request.Operation and Server.Requests.
const (
	List         = "list"         // ListAuthenticationTokens
	Access       = "token"        // the OAuth 2.0 token endpoint, or GenerateOauthToken
	Discovery    = "discovery"    // the instance's and the issuer's configuration
	Providers    = "providers"    // ListCredentialProviders
	Applications = "applications" // ListApplications
	unknown      = "unknown"
)

// Paths of a Server, in addition to the list call of its instance.
const (
	IssuerPath            = "/api/v2/iauths_system/oauth2"
	TokenPath             = IssuerPath + "/token"
	IssuerDiscoveryPath   = IssuerPath + "/.well-known/openid-configuration"
	InstanceDiscoveryPath = "/.well-known/cloud-idaas-configuration"
)

// End is the nextToken of the last page.
type End int

// Ends of a list: nextToken is absent, null, or the empty string.
const (
	EndAbsent End = iota
	EndNull
	EndEmpty
)

// Total returns totalCount as JSON, or "" for none, of a page of a list that has total tokens, those on this page, and those
// on later ones. Nil returns the total as it is.
type Total func(total, here, later int64) string

// Capped returns totals of at most that many tokens.
func Capped(most int64) Total {
	return func(total, _, _ int64) string { return strconv.FormatInt(min(total, most), 10) }
}

// OfPage returns the number of tokens on the page.
func OfPage(_, here, _ int64) string { return strconv.FormatInt(here, 10) }

// Remaining returns the number of tokens on the page and on later ones.
func Remaining(_, here, later int64) string { return strconv.FormatInt(here+later, 10) }

// AsText returns the total as a JSON string.
func AsText(total, _, _ int64) string { return fmt.Sprintf("%q", strconv.FormatInt(total, 10)) }

// WithFraction returns the total with a fraction of 0.
func WithFraction(total, _, _ int64) string { return strconv.FormatInt(total, 10) + ".0" }

// Config of a Server. Zero fields have the defaults in the comments.
type Config struct {
	InstanceID          string        // "idaas_simulator"
	Clients             []Client      // machine clients that may get access tokens
	AccessTokenLifetime time.Duration // 20 minutes; whole seconds
	MaxPageSize         int           // 100; the response to a larger maxResults is 400
	ClampPageSize       bool          // the response to a larger maxResults has MaxPageSize tokens instead
	End                 End
	// OffsetCursor: nextToken is an offset, so pages drift after changes, and every page scans those before it. By default an unchanged
	// token is listed exactly once.
	OffsetCursor     bool
	OmitTotalCount   bool             // totalCount is absent
	Seconds          bool             // expirationTime is in seconds, not milliseconds
	Latency          time.Duration    // before each response
	Quota            Quota            // of list calls
	Now              func() time.Time // time.Now; for expirations and the Date header
	ClockSkew        time.Duration    // added to Now: the clock of the server is ahead
	DateSkew         time.Duration    // added to the Date header only
	OmitDate         bool             // there is no Date header
	IgnoredFilters   []string         // of revoked and expired: accepted, without effect
	Total            Total            // how totalCount is returned
	BaseURL          string           // scheme and host in returned URLs; by default those of the request
	TokenEndpoint    string           // in discovery, and the audience of assertions; by default BaseURL and TokenPath
	InternetEndpoint string           // developer endpoint in discovery; by default BaseURL
	VPCEndpoint      string           // the same for network vpc

	// Set by WithRAM.
	ram    []RAMUser
	manage func(*Server, *http.Request) answer
}

// Server is the simulated API. It is an http.Handler, and all its methods are safe for concurrent use.
// No goroutine outlives a request. Faults that break the connection panic with http.ErrAbortHandler, as net/http expects.
type Server struct {
	config  Config
	clients map[string]Client
	key     []byte
	done    chan struct{}
	close   func()

	mu           sync.Mutex
	sets         map[pair]*set
	providers    map[string]Provider
	applications map[string]Application
	nonces       map[string]time.Time // of signed calls, with the time until they are kept
	places       map[string]place
	sequence     int64
	faults       []*injected
	assertions   map[string]time.Time // jti to its expiration
	generation   int                  // of access tokens
	quotaEnd     time.Time
	quotaUsed    int
	requests     journal
}

// New returns a Server without tokens and faults.
func New(config Config) *Server {
	if config.InstanceID == "" {
		config.InstanceID = "idaas_simulator"
	}
	if config.AccessTokenLifetime == 0 {
		config.AccessTokenLifetime = 20 * time.Minute
	}
	if config.MaxPageSize == 0 {
		config.MaxPageSize = 100
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	now, skew := config.Now, config.ClockSkew
	config.Now = func() time.Time { return now().Add(skew) }
	s := &Server{
		config:       config,
		clients:      make(map[string]Client, len(config.Clients)),
		key:          make([]byte, 32),
		done:         make(chan struct{}),
		sets:         map[pair]*set{},
		providers:    map[string]Provider{},
		applications: map[string]Application{},
		nonces:       map[string]time.Time{},
		places:       map[string]place{},
		sequence:     firstStored,
		assertions:   map[string]time.Time{},
		requests:     journal{counts: map[string]int{}},
	}
	s.close = sync.OnceFunc(func() { close(s.done) })
	_, _ = rand.Read(s.key) // never fails
	for _, c := range config.Clients {
		s.clients[c.ID] = c
	}
	return s
}

// Close aborts all responses that wait or hang, current and later ones, so that an HTTP server can be shut down.
func (s *Server) Close() { s.close() }

// ServeHTTP responds to a request and returns immediately when its context ends.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := s.config.Now()
	// The body is read first: only then does net/http notice a client that has disconnected.
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	formErr := r.ParseForm()

	request := s.describe(r, now)
	number := s.record(request)
	if !s.wait(r.Context(), s.config.Latency) {
		panic(http.ErrAbortHandler)
	}
	var a answer
	switch request.Operation {
	case List:
		a = s.list(r)
	case Access:
		if r.URL.Path == "/" {
			a = s.config.manage(s, r)
		} else {
			a = s.grant(r, formErr)
		}
	case Discovery:
		a = s.discover(r)
	case Providers, Applications:
		a = s.config.manage(s, r)
	default:
		a = failure(http.StatusNotFound, "not_found", "no such path")
	}
	to := reply{w: w, r: r, id: rand.Text(), number: number}
	header := w.Header()
	header.Set("Date", s.config.Now().Add(s.config.DateSkew).UTC().Format(http.TimeFormat))
	if s.config.OmitDate {
		header["Date"] = nil // otherwise net/http adds it
	}
	header.Set("X-Acs-Request-Id", to.id)
	header.Set("Content-Type", "application/json")
	if f, ok := s.pick(request, a, now); ok {
		if f.Then != nil {
			defer f.Then()
		}
		s.corrupt(to, a, f)
		return
	}
	maps.Copy(header, a.header)
	s.send(to, a.status, a.body(to.id, alteration{}))
}

func (s *Server) describe(r *http.Request, now time.Time) Request {
	request := Request{
		Operation: unknown,
		Time:      now,
		Query:     r.URL.RawQuery,
		UserAgent: r.UserAgent(),
	}
	switch path := r.URL.Path; path {
	case TokenPath:
		request.Operation = Access
	case IssuerDiscoveryPath, InstanceDiscoveryPath:
		request.Operation = Discovery
	case "/":
		if s.config.manage == nil {
			break
		}
		switch r.Header.Get("X-Acs-Action") {
		case "":
		case "GenerateOauthToken":
			request.Operation = Access
		case "ListApplications":
			request.Operation = Applications
			request.Page, _ = strconv.Atoi(r.URL.Query().Get("PageNumber"))
		default:
			request.Operation = Providers
		}
	default:
		if _, ok := instanceOf(path); !ok {
			break
		}
		values := r.URL.Query()
		request.Operation = List
		request.Consumer = values.Get("consumerId")
		request.Provider = values.Get("credentialProviderIdentifier")
		request.AccessToken = bearer(r)
		if c, ok := s.unseal(values); ok {
			request.Page = c.page
		}
	}
	return request
}

// instanceOf returns the instance id in the path of a list call.
func instanceOf(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return "", false
	}
	id, ok := strings.CutSuffix(rest, "/authenticationTokens")
	return id, ok && !strings.Contains(id, "/")
}

// wait sleeps for d, and returns false if the request or the Server has ended.
func (s *Server) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.done:
	}
	return false
}

// baseURL returns the configured base URL, or the scheme and host of the request.
func (s *Server) baseURL(r *http.Request) string {
	switch {
	case s.config.BaseURL != "":
		return s.config.BaseURL
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
