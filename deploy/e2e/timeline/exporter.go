package timeline

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/idaas-exporter/idaas-token-exporter/collector/exporter"
	"github.com/idaas-exporter/idaas-token-exporter/collector/web"
	"github.com/idaas-exporter/idaas-token-exporter/config"
)

// Process is one exporter, wired as the command serve wires it, that can be stopped and started again.
type Process struct {
	Log *bytes.Buffer // everything it logged, in JSON

	world   *World
	address string
	environ []string
	stop    context.CancelFunc
	ended   chan struct{}
}

// Exporter starts an exporter at address, with these settings besides the usual ones, and has Prometheus scrape it.
func (w *World) Exporter(address string, environ ...string) *Process {
	p := &Process{Log: &bytes.Buffer{}, world: w, address: address, environ: environ}
	w.addresses = append(w.addresses, address)
	w.discover()
	p.Start()
	w.processes = append(w.processes, p)
	return p
}

// Start starts a stopped exporter; settings given replace its own.
func (p *Process) Start(environ ...string) {
	w := p.world
	if environ != nil {
		p.environ = environ
	}
	usual := []string{
		"IDAAS_INSTANCE_ID=" + instance, "IDAAS_ENDPOINT=" + api, "IDAAS_TOKEN_ENDPOINT=" + api + tokenPath,
		"IDAAS_CLIENT_ID=" + client, "IDAAS_CLIENT_SECRET=" + secret, "IDAAS_RATE_LIMIT=1000", "IDAAS_LOG_LEVEL=info",
	}
	if !slices.ContainsFunc(p.environ, func(pair string) bool { return strings.HasPrefix(pair, "IDAAS_TARGETS_FILE=") }) {
		usual = append(usual, "IDAAS_TARGETS="+strings.Join(w.targets, ","))
	}
	given := slices.Concat(w.scenario.Environ, p.environ)
	usual = slices.DeleteFunc(usual, func(pair string) bool { // an empty one unsets it
		name, _, _ := strings.Cut(pair, "=")
		return slices.ContainsFunc(given, func(g string) bool { return strings.HasPrefix(g, name+"=") })
	})
	cfg, err := config.Load(slices.Concat(usual, given), web.CheckConfig)
	if err != nil {
		w.Fatal(err)
	}
	listener := newPipes()
	app := exporter.New(cfg, exporter.Network{
		Transport: (*network)(w),
		Listen:    func(context.Context, string, string) (net.Listener, error) { return listener, nil },
	}, slog.New(slog.NewJSONHandler(p.Log, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	p.stop, p.ended = cancel, ended
	w.listen(p.address, listener)
	go func() {
		defer close(ended)
		if code := app.Serve(ctx); code != 0 {
			w.Errorf("the exporter at %s ended with %d", p.address, code)
		}
	}()
}

// Stop ends it as SIGTERM does.
func (p *Process) Stop() {
	p.stop()
	<-p.ended
	p.world.listen(p.address, nil)
}

// Restart stops and starts it.
func (p *Process) Restart(environ ...string) {
	p.Stop()
	p.Start(environ...)
}

// network is the way to the API: no sockets, and as fast as the simulator answers.
type network World

func (n *network) RoundTrip(r *http.Request) (response *http.Response, err error) {
	w := (*World)(n)
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	host := w.host.Load().(string)
	if w.offline() || r.URL.Host != host && r.URL.Host != domain {
		return nil, errors.New("connect: connection refused")
	}
	served := r.Clone(r.Context())
	served.Host, served.RequestURI = host, r.URL.RequestURI()
	if served.Body == nil {
		served.Body = http.NoBody
	}
	defer func() {
		switch fault := recover(); fault {
		case nil:
		case any(http.ErrAbortHandler):
			response, err = nil, errors.Join(io.ErrUnexpectedEOF, r.Context().Err())
		default:
			panic(fault)
		}
	}()
	answer := httptest.NewRecorder()
	w.API.ServeHTTP(answer, served)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return answer.Result(), nil
}

// pipes is a listener in memory, which unlike a socket can be waited for in virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

var errRefused = errors.New("connection refused")

func (w *World) listen(address string, p *pipes) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listeners[address] = p
}

// Hear has scrapes succeed, or all of them fail.
func (w *World) Hear(heard bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unheard = !heard
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

func (w *World) dial(ctx context.Context, address string) (net.Conn, error) {
	w.mu.Lock()
	to := w.listeners[address]
	if w.unheard {
		to = nil
	}
	w.mu.Unlock()
	if to == nil {
		return nil, errRefused
	}
	here, there := net.Pipe()
	select {
	case to.conns <- there:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.conns = append(w.conns, here)
		return here, nil
	case <-to.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
