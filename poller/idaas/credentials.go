package idaas

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth/ram"
)

// keptFor is how long credentials without an expiration are used before their source is read again.
const keptFor = time.Second

// findRAM finds RAM credentials, with the retries of any request, and logs where, if that changed.
func (c *Client) findRAM(ctx context.Context, renewing bool) (ram.Credentials, lease, error) {
	var found ram.Credentials
	refused := false
	call := &call{retries: c.config.Retries, renew: func(ctx context.Context) bool {
		return refused && !renewing && c.gate.sleep(ctx, WaitBackoff, settle) == nil // a file may just be replaced
	}}
	if renewing {
		call.retries = 0
	}
	call.build = func(ctx context.Context) (_ *http.Request, err error) {
		if found, err = c.chain.Find(ctx); err == nil {
			return nil, nil
		}
		f := fail(poller.AccessToken, "no RAM credentials: %w", err)
		if cause, ok := errors.AsType[*failure](err); ok {
			f.retry, f.hint, refused = cause.retry, cause.hint, cause.status/100 == 4
		} else if _, ok := errors.AsType[*fs.PathError](err); ok {
			f.retry = true // it may just be replaced
		}
		return nil, f
	}
	if err := c.do(ctx, call, nil); err != nil {
		return found, lease{}, err
	}
	used := c.ram.value
	if found.Source != used.Source || found.Expires.IsZero() && found.ID != used.ID {
		c.config.Log.Info("RAM credentials found", "source", found.Source, "access_key", found.Key())
	}
	now := time.Now()
	if found.Expires.IsZero() {
		return found, lease{until: now.Add(keptFor)}, nil
	}
	life := found.Expires.Sub(now)
	return found, lease{renew: now.Add(life * 2 / 3), until: now.Add(life * 9 / 10)}, nil
}

// RAM returns the RAM credentials found last; empty ones if there are none so far.
func (c *Client) RAM() ram.Credentials {
	c.ram.mu.Lock()
	defer c.ram.mu.Unlock()
	return c.ram.value
}

// sendForCredential sends a request for a credential once, under the rules of all requests.
func (c *Client) sendForCredential(ctx context.Context, r ram.Request) (body []byte, err error) {
	call := &call{what: r.What, hide: hidden(r.Secrets), build: func(context.Context) (*http.Request, error) { return r.Request, nil }}
	if r.Direct {
		call.via = &c.config.Auth.Metadata
	}
	call.decode = func(text []byte) error {
		body = text
		return nil
	}
	if f := c.attempt(ctx, call, new(bytes.Buffer)); f != nil {
		return nil, f
	}
	return body, nil
}
