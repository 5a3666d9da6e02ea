// Package idaas is the Alibaba Cloud IDaaS developer API as the poller's source: its one list call, the access token
// it needs, its errors and its limits.
package idaas

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// Config of a Client. Everything is taken as valid.
type Config struct {
	// Domain is the base URL of the instance's own domain: what is unset of the next three is discovered from it.
	Domain        string
	InstanceID    string
	Endpoint      string     // base URL of the developer API, without a path
	TokenEndpoint string     // OAuth 2.0 token endpoint
	Network       string     // Internet or VPC: from where the developer API is to be reached, if discovered
	Auth          Auth       // how to get access tokens
	AccessToken   Credential // a ready access token instead

	PageSize  int
	RateLimit float64 // requests per second, all operations together
	Timeout   time.Duration
	Retries   int

	UserAgent string
	Transport http.RoundTripper // see NewTransport
	Log       *slog.Logger
	Events    Events
}

// Client reads authentication tokens from one IDaaS instance. It is safe for concurrent use.
type Client struct {
	domain        string
	network       string
	configured    instance
	fetchesTokens bool
	auth          Auth
	timeout       time.Duration
	retries       int
	userAgent     string
	transport     http.RoundTripper // bare: an http.Client fails for a redirect to what is no URL
	log           *slog.Logger
	events        Events

	pageSize atomic.Int64
	gate     *gate
	instance shared[instance]
	tokens   tokenSource
}

// New returns a Client that has sent nothing yet.
func New(c Config) *Client {
	client := &Client{
		domain:        c.Domain,
		network:       c.Network,
		configured:    instance{c.InstanceID, c.Endpoint, c.TokenEndpoint},
		fetchesTokens: !c.AccessToken.Given(),
		auth:          c.Auth,
		timeout:       c.Timeout,
		retries:       c.Retries,
		userAgent:     c.UserAgent,
		log:           c.Log,
		events:        c.Events.orNothing(),
		transport:     c.Transport,
	}
	client.pageSize.Store(int64(c.PageSize))
	client.gate = newGate(c.RateLimit, client.events.Waited)
	client.instance.fetch = func(ctx context.Context, _ bool) (instance, lease, error) {
		found, err := client.discover(ctx)
		return found, lease{}, err
	}
	if client.fetchesTokens {
		client.tokens = newFetchedToken(client)
	} else {
		client.tokens = &readyToken{credential: c.AccessToken, events: client.events}
	}
	return client
}

// NewTransport returns a transport for a Client: TLS 1.2 or newer, roots (nil: the system's), the proxy of the
// environment.
func NewTransport(roots *x509.CertPool) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	t.MaxIdleConnsPerHost = t.MaxIdleConns
	t.MaxResponseHeaderBytes = 1 << 20
	return t
}
