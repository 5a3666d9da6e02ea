package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
)

// pipes is a listener in memory, which works in virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	fail   chan error // what Accept fails with
	once   sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{}), fail: make(chan error, 1)}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case err := <-p.fail:
		return nil, err
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

func (p *pipes) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, errRefused
	}
}

func (p *pipes) get(path string) reply {
	dial := func(context.Context, string, string) (net.Conn, error) { return p.dial() }
	return get(&http.Transport{DialContext: dial}, "http://pipes"+path)
}

// startPipes serves a configuration in memory, and returns the listeners of all routes and of the probes.
func startPipes(ctx context.Context, t *testing.T, c Config) (all, probes *pipes, ended <-chan error) {
	t.Helper()
	all, probes = newPipes(), newPipes()
	c.ListenAddress, c.ProbeAddress = "all", "probes"
	c.Listen = func(_ context.Context, _, address string) (net.Listener, error) {
		return map[string]net.Listener{"all": all, "probes": probes}[address], nil
	}
	end := make(chan error, 1)
	go func() { end <- Serve(ctx, c) }()
	return all, probes, end
}

func (p *pipes) open() bool {
	select {
	case <-p.closed:
		return false
	default:
		return true
	}
}
