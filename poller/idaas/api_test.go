package idaas

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const (
	testClient = "app_tests" // with its colon, no multiple of 3 characters: base64 of what follows is not base64 of the secret
	testSecret = "s3cret+/= %&\"value"
	testScope  = "urn:cloud:idaas:pam|authentication_token:read"
)

// pipeListener accepts connections within the process. Both of their ends are in the synctest bubble.
type pipeListener struct {
	conns   chan net.Conn
	done    chan struct{}
	refuse  atomic.Bool
	closing sync.Once

	mu    sync.Mutex
	dials []time.Time
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	l.mu.Lock()
	l.dials = append(l.dials, time.Now())
	l.mu.Unlock()
	if l.refuse.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) dialled() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.dials)
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.closing.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// api is the simulated API behind HTTP connections, with the events and the log of its Client.
type api struct {
	*simulator.Server
	listener  *pipeListener
	transport *http.Transport
	events    recorder
	log       logBuffer

	mu    sync.Mutex
	lists map[string]int // list requests by consumer
}

func (a *api) listsOf(consumer string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lists[consumer]
}

// newAPI must be called inside a bubble, and stops with the test. It sets the clock to the year 2020: times before 2001 in milliseconds
// would be treated as seconds.
func newAPI(t *testing.T, c simulator.Config) *api {
	t.Helper()
	time.Sleep(time.Until(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)))
	if c.Clients == nil {
		c.Clients = []simulator.Client{{ID: testClient, Secret: testSecret}}
	}
	a := &api{Server: simulator.New(c), lists: map[string]int{}}
	a.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if consumer := r.URL.Query().Get("consumerId"); consumer != "" {
			a.mu.Lock()
			a.lists[consumer]++
			a.mu.Unlock()
		}
		a.ServeHTTP(w, r)
	}))
	return a
}

// serve has a handler respond instead of the simulator.
func (a *api) serve(t *testing.T, h http.Handler) {
	listener := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	a.listener = listener
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })
	a.transport = NewTransport(nil)
	a.transport.Proxy = nil
	a.transport.DialContext = a.listener.dial
	t.Cleanup(func() {
		if a.Server != nil {
			a.Close()
		}
		a.transport.CloseIdleConnections()
		_ = server.Close()
		wg.Wait()
	})
}

// client returns a Client of the API; options change its Config.
func (a *api) client(options ...func(*Config)) *Client {
	c := Config{
		InstanceID:    "idaas_simulator",
		Endpoint:      "http://api.test",
		TokenEndpoint: "http://domain.test" + simulator.TokenPath,
		Auth: auth.Identity{
			Method:   "client_secret_post",
			ClientID: testClient,
			Secret:   auth.Credential{Text: poller.NewSecret(testSecret)},
			Scope:    testScope,
		},
		PageSize:  100,
		RateLimit: 1000,
		Timeout:   10 * time.Second,
		Retries:   4,
		UserAgent: "idaas-token-exporter/test",
		Transport: a.transport,
		Log:       slog.New(slog.NewTextHandler(&a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Events:    &a.events,
	}
	for _, option := range options {
		option(&c)
	}
	return New(c)
}

func pageSize(n int) func(*Config)      { return func(c *Config) { c.PageSize = n } }
func retries(n int) func(*Config)       { return func(c *Config) { c.Retries = n } }
func rateLimit(r float64) func(*Config) { return func(c *Config) { c.RateLimit = r } }
func readyText(token string) func(*Config) {
	return ready(auth.Credential{Text: poller.NewSecret(token)})
}

func ready(c auth.Credential) func(*Config) { return func(config *Config) { config.AccessToken = c } }

func target(consumer, provider string) poller.Target {
	return poller.Target{Consumer: consumer, Provider: provider, Label: consumer}
}

// every is a schedule with its times at whole multiples of itself.
type every time.Duration

func (e every) Next(t time.Time) time.Time {
	return t.Truncate(time.Duration(e)).Add(time.Duration(e))
}

func (a *api) poller(c *Client, concurrency int, targets ...poller.Target) *poller.Poller {
	return poller.New(poller.Config{
		Source: c, Schedule: poller.Schedule{Calendar: every(5 * time.Minute)}, Targets: targets, Concurrency: concurrency, Timeout: time.Hour,
		Log: slog.New(slog.NewTextHandler(&a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
}

// poll walks the targets once, all in parallel.
func (a *api) poll(t *testing.T, c *Client, targets ...poller.Target) []*poller.Reading {
	t.Helper()
	p := a.poller(c, len(targets), targets...)
	p.Once(t.Context())
	return p.Snapshot().Readings
}

// run runs p in the background of a bubble. stop stops it and waits.
func run(p *poller.Poller) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// checkCounts compares a reading with the counts of the simulator.
func (a *api) checkCounts(t *testing.T, r *poller.Reading) {
	t.Helper()
	if r.Failure != nil {
		t.Errorf("%s: failed: %s: %s", r.Target.Consumer, r.Failure.Reason, r.Failure.Text)
		return
	}
	if r.Census == nil {
		t.Errorf("%s: not read", r.Target.Consumer)
		return
	}
	now := time.Now()
	s, want := r.Census.At(now), a.Count(r.Target.Consumer, r.Target.Provider, now)
	got := simulator.Counts{Total: s.Total, Active: s.Active, Expired: s.Expired, Revoked: s.Revoked, WithoutExpiration: s.NeverExpiring}
	if got != want {
		t.Errorf("%q: counted %+v, want %+v", r.Target.Consumer, got, want)
	}
	for _, within := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour, 3650 * 24 * time.Hour} {
		if got, want := s.Expiring(within), a.Expiring(r.Target.Consumer, r.Target.Provider, now, within); got != want {
			t.Errorf("%q: %d expire within %v, want %d", r.Target.Consumer, got, within, want)
		}
	}
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Reset()
}
