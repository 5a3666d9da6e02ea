// Package idaas is the client of the Alibaba Cloud IDaaS developer API, the source of the poller: it lists authentication tokens and
// credential providers, and gets the access tokens for that.
package idaas

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth/ram"
)

// Config of a Client. All values must be valid.
type Config struct {
	// Domain is the base URL of the instance's own domain. The next three are discovered from it if empty.
	Domain        string
	InstanceID    string
	Endpoint      string          // base URL of the developer API, without a path
	TokenEndpoint string          // OAuth 2.0 token endpoint
	Network       string          // internet or vpc: which developer API endpoint is discovered
	Management    string          // base URL of the management API; empty: that of the developer API's region
	Auth          auth.Identity   // for requests of access tokens
	RAM           ram.Credentials // instead of those of the default chain
	AccessToken   auth.Credential // a ready access token, used instead of Auth

	PageSize  int
	RateLimit float64 // requests per second, for each of the two APIs
	Timeout   time.Duration
	Retries   int

	UserAgent string
	Transport http.RoundTripper // see NewTransport; no http.Client, whose error for a redirect to an invalid URL has no response
	Log       *slog.Logger
	Events    Events // nil: none
}

// Client reads authentication tokens from one IDaaS instance. It is safe for concurrent use.
type Client struct {
	config     Config
	transport  atomic.Pointer[http.RoundTripper]
	pageSize   paging
	developer  *limiter // of the developer API, the token endpoint and the documents of the instance
	management *limiter
	instance   cached[Instance]
	tokens     cached[accessToken]
	chain      ram.Chain
	ram        cached[ram.Credentials] // for calls of the management API
}

// New returns a Client. It sends no request.
func New(c Config) *Client {
	if c.Events == nil {
		c.Events = NoEvents{}
	}
	if c.Auth.Metadata == nil {
		c.Auth.Metadata = &http.Transport{DisableKeepAlives: true}
	}
	client := &Client{config: c, developer: newLimiter(c.RateLimit, c.Events), management: newLimiter(c.RateLimit, c.Events)}
	client.pageSize = paging{config: &client.config, current: c.PageSize}
	c.Events.PageSize(c.PageSize)
	client.transport.Store(&c.Transport)
	client.chain.Send = client.sendForCredential
	client.ram.fetch = client.findRAM
	client.instance.fetch = client.discover
	client.tokens.fetch = client.fetchToken
	return client
}

// retries returns how often a failed request of a cached value is sent again.
func (c *Client) retries(renewing bool) int {
	if renewing {
		return 0
	}
	return c.config.Retries
}

// NewTransport returns a transport for a Client: TLS 1.2 or newer, roots (nil: the system's), the proxy of the environment.
func NewTransport(roots *x509.CertPool) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	t.MaxIdleConnsPerHost = t.MaxIdleConns
	t.ReadBufferSize = 64 << 10 // a whole page
	t.MaxResponseHeaderBytes = 1 << 20
	// The default error is only the status, as if it were a response of the API.
	t.OnProxyConnectResponse = func(_ context.Context, proxy *url.URL, _ *http.Request, response *http.Response) error {
		if response.StatusCode == http.StatusOK {
			return nil
		}
		return fmt.Errorf("the proxy %s refused to connect: %s", proxy.Host, response.Status)
	}
	return t
}

// replaceTransport makes later requests use new connections, because that of used may be dead: HTTP/2 sends all requests on one
// connection and uses it after a timeout, too (golang/go#36026, #59690). Requests in flight continue.
func (c *Client) replaceTransport(used *http.RoundTripper) {
	if t, ok := (*used).(*http.Transport); ok {
		var other http.RoundTripper = t.Clone()
		if c.transport.CompareAndSwap(used, &other) {
			t.CloseIdleConnections()
		}
	}
}
