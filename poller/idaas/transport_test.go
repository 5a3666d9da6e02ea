package idaas

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func TestNewTransport(t *testing.T) {
	transport := NewTransport(nil)
	if transport.TLSClientConfig.MinVersion != tls.VersionTLS12 || transport.TLSClientConfig.InsecureSkipVerify {
		t.Errorf("%+v", transport.TLSClientConfig)
	}
	if reflect.ValueOf(transport.Proxy).Pointer() != reflect.ValueOf(http.ProxyFromEnvironment).Pointer() {
		t.Error("the proxy is not that of the environment")
	}
}

// vanishing is a network whose connections can go dead: written data is lost without an error.
type vanishing struct {
	net.Dialer
	dials atomic.Int32
	mu    sync.Mutex
	conns []*vanished
}

type vanished struct {
	net.Conn
	dead atomic.Bool
}

func (c *vanished) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (v *vanishing) dial(ctx context.Context, network, address string) (net.Conn, error) {
	v.dials.Add(1)
	conn, err := v.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &vanished{Conn: conn}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.conns = append(v.conns, c)
	return c, nil
}

// vanish makes all existing connections go dead.
func (v *vanishing) vanish() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.conns {
		c.dead.Store(true)
	}
}

// secure serves the simulator by TLS, with or without HTTP/2, and returns a client of it.
func secure(t *testing.T, http2 bool) (*api, *Client, *vanishing) {
	a := &api{
		Server: simulator.New(simulator.Config{Clients: []simulator.Client{{ID: testClient, Secret: testSecret}}}), lists: map[string]int{},
	}
	server := httptest.NewUnstartedServer(a.Server)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = http2
	server.StartTLS()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	a.transport = NewTransport(roots)
	a.transport.Proxy = nil
	v := &vanishing{}
	a.transport.DialContext = v.dial
	c := a.client(pageSize(10), retries(1), func(c *Config) {
		c.Endpoint, c.TokenEndpoint, c.Timeout = server.URL, server.URL+simulator.TokenPath, 300*time.Millisecond
	})
	t.Cleanup(func() {
		a.Close()
		server.Close()
		(*c.transport.Load()).(*http.Transport).CloseIdleConnections()
		a.transport.CloseIdleConnections()
	})
	return a, c, v
}

// The attempt after a timeout uses another connection: the old one may be dead. golang/go#36026, #59690.
func TestDeadConnectionIsReplaced(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		a, c, v := secure(t, http2)
		targets := a.fill(4, 25)
		for _, r := range a.poll(t, c, targets...) {
			a.checkCounts(t, r)
		}
		if n := v.dials.Load(); http2 && n != 1 {
			t.Fatalf("%d connections by HTTP/2", n)
		}
		for range 2 {
			v.vanish()
			for _, r := range a.poll(t, c, targets...) {
				a.checkCounts(t, r)
			}
		}
	}
}

// A slow request does not break requests in parallel.
func TestLeavingAConnectionLetsOtherRequestsEnd(t *testing.T) {
	a, c, v := secure(t, true)
	targets := a.fill(2, 1)
	a.Inject(simulator.Fault{Operation: simulator.List, Consumer: "consumer-0", Kind: simulator.Hang, Times: 1})
	a.Inject(simulator.Fault{Operation: simulator.List, Consumer: "consumer-1", Kind: simulator.Slow, Delay: 200 * time.Millisecond})
	for _, r := range a.poll(t, c, targets...) {
		a.checkCounts(t, r)
	}
	if events := a.events.soFar(); events.requests["list error"] != 1 || v.dials.Load() != 2 {
		t.Errorf("%v, %d connections", events.requests, v.dials.Load())
	}
}

// The error for a refused CONNECT names the proxy.
func TestAProxyThatRefuses(t *testing.T) {
	for _, status := range []int{403, 407, 502, 503} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		address := strings.TrimPrefix(proxy.URL, "http://")
		transport := NewTransport(nil)
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", User: url.UserPassword("me", testSecret), Host: address})
		c := New(Config{
			InstanceID: "idaas_test", Endpoint: "https://api.test", AccessToken: auth.Credential{Text: poller.NewSecret("ready")},
			PageSize: 10, RateLimit: 1000, Timeout: time.Second, Transport: transport, Log: slog.New(slog.DiscardHandler),
		})
		for _, err := range c.Pages(t.Context(), target("consumer", "provider")) {
			want := fmt.Sprintf("page 1: the proxy %s refused to connect: %d %s", address, status, http.StatusText(status))
			if e, ok := errors.AsType[*poller.Error](err); !ok || e.Reason != poller.Connection || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
		proxy.Close()
	}
}
