// Package idaas is the Alibaba Cloud IDaaS developer API as the poller's source: its one list call, the access token
// it needs, the providers there are, its errors and its limits.
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

	"golang.org/x/time/rate"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth/ram"
)

// Config of a Client. Everything is taken as valid.
type Config struct {
	// Domain is the base URL of the instance's own domain: what is unset of the next three is discovered from it.
	Domain        string
	InstanceID    string
	Endpoint      string          // base URL of the developer API, without a path
	TokenEndpoint string          // OAuth 2.0 token endpoint
	Network       string          // internet or vpc: from where the developer API is to be reached, if discovered
	Management    string          // base URL of the management API; that of the developer API's region, if empty
	Auth          auth.Identity   // how to get access tokens
	AccessToken   auth.Credential // a ready access token instead

	PageSize  int
	RateLimit float64 // requests per second, of each of the two APIs
	Timeout   time.Duration
	Retries   int

	UserAgent string
	Transport http.RoundTripper // see NewTransport; used bare: an http.Client fails for a redirect to what is no URL
	Log       *slog.Logger
	Events    Events // nil: none
}

// Client reads authentication tokens from one IDaaS instance. It is safe for concurrent use.
type Client struct {
	config     Config
	transport  atomic.Pointer[http.RoundTripper]
	pageSize   *paging
	gate       *gate // of the developer API, with the token endpoint and the documents of the instance
	management *gate
	instance   shared[Instance]
	tokens     tokenSource
	chain      ram.Chain
	ram        shared[ram.Credentials] // that sign calls of the management API
}

// New returns a Client that has sent nothing yet.
func New(c Config) *Client {
	if c.Events == nil {
		c.Events = NoEvents{}
	}
	if c.Auth.Metadata == nil {
		c.Auth.Metadata = &http.Transport{DisableKeepAlives: true}
	}
	newGate := func() *gate {
		limiter := func() *rate.Limiter { return rate.NewLimiter(rate.Limit(c.RateLimit), 1) }
		return &gate{limiter: limiter(), sends: limiter(), waited: c.Events.Waited}
	}
	client := &Client{config: c, gate: newGate(), management: newGate()}
	client.transport.Store(&c.Transport)
	client.chain.Send = client.sendForCredential
	client.ram.fetch = client.findRAM
	client.pageSize = newPaging(c.PageSize, c.Events.PageSize, c.Log)
	client.instance.fetch = func(ctx context.Context, renewing bool) (Instance, lease, error) {
		found, err := client.discover(ctx, renewing)
		if was := client.instance.value; err == nil && renewing && found != was {
			c.Log.Info("the instance answers elsewhere now", "instance", found.ID, "api", found.Endpoint, "token_endpoint", found.TokenEndpoint)
		}
		return found, lease{}, err
	}
	if c.AccessToken.Given() {
		client.tokens = &readyToken{credential: c.AccessToken, timeout: c.Timeout, events: c.Events}
	} else {
		client.tokens = &fetchedToken{shared[accessToken]{fetch: client.fetchToken}}
	}
	return client
}

// NewTransport returns a transport for a Client: TLS 1.2 or newer, roots (nil: the system's), the proxy of the
// environment.
func NewTransport(roots *x509.CertPool) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	t.MaxIdleConnsPerHost = t.MaxIdleConns
	t.ReadBufferSize = 64 << 10 // a page at once
	t.MaxResponseHeaderBytes = 1 << 20
	// Else the error is the proxy's status alone, as if the API had answered.
	t.OnProxyConnectResponse = func(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
		if answer.StatusCode == http.StatusOK {
			return nil
		}
		return fmt.Errorf("the proxy %s refused to connect: %s", proxy.Host, answer.Status)
	}
	return t
}

// leave has later requests use other connections than those of used, which may be dead: HTTP/2 sends everything on one,
// and goes on with it after a timeout (golang/go#36026, #59690). Requests under way are let end.
func (c *Client) leave(used *http.RoundTripper) {
	if t, ok := (*used).(*http.Transport); ok {
		var other http.RoundTripper = t.Clone()
		if c.transport.CompareAndSwap(used, &other) {
			t.CloseIdleConnections()
		}
	}
}
