package idaas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth/ram"
)

// manage builds a signed request to the management API.
func (c *Client) manage(ctx context.Context, call *call, at Instance, action string, query url.Values) (*http.Request, error) {
	if at.Management == "" {
		return nil, fail(poller.AccessToken, "%s: no region in %s; set IDAAS_MANAGEMENT_ENDPOINT", call.what, at.Endpoint)
	}
	call.limiter = c.management
	if err := call.limiter.wait(ctx); err != nil {
		return nil, err
	}
	query.Set("InstanceId", at.ID)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.Management+"/?"+query.Encode(), http.NoBody)
	var used ram.Credentials
	if err == nil {
		used, err = c.ram.get(ctx)
	}
	if err != nil {
		return nil, fail(poller.AccessToken, "%s: %w", call.what, err)
	}
	call.hide = hidden(used.Sign(req, action, "2021-12-01"))
	call.renew = func(ctx context.Context) bool {
		c.ram.drop(func(ram.Credentials) bool { return true })
		found, err := c.ram.get(ctx)
		return err == nil && found != used
	}
	return req, nil
}

// tokenByRAM builds the call GenerateOauthToken.
func (c *Client) tokenByRAM(ctx context.Context, call *call, at Instance) (*http.Request, error) {
	query := url.Values{"ApplicationId": {c.config.Auth.ClientID}}
	for i, item := range strings.Fields(c.config.Auth.Scope) {
		audience, value, ok := strings.Cut(item, "|")
		if !ok || i > 0 && query.Get("Audience") != audience {
			return nil, fail(poller.AccessToken, "access token: IDAAS_SCOPE is not a list of audience|permission of one audience")
		}
		query.Set("Audience", audience)
		query.Set(fmt.Sprintf("ScopeValues.%d", i+1), value)
	}
	return c.manage(ctx, call, at, "GenerateOauthToken", query)
}

// rereadAfter is how long credentials without an expiration are used before their source is read again.
const rereadAfter = time.Second

// findRAM finds RAM credentials, with the retries of other requests. It logs the source if that changed.
func (c *Client) findRAM(ctx context.Context, renewing bool) (ram.Credentials, lease, error) {
	var found ram.Credentials
	refused := false
	call := &call{retries: c.retries(renewing), renew: func(ctx context.Context) bool {
		return refused && !renewing && c.developer.sleep(ctx, WaitBackoff, replaceTime) == nil
	}}
	call.build = func(ctx context.Context) (_ *http.Request, err error) {
		if found = c.config.RAM; found.ID != "" {
			return nil, nil
		}
		if found, err = c.chain.Find(ctx); err == nil {
			return nil, nil
		}
		f := failBecause(poller.AccessToken, "no RAM credentials: %w", err)
		if cause, ok := errors.AsType[*failure](err); ok {
			refused = cause.status/100 == 4
		} else if _, ok := errors.AsType[*fs.PathError](err); ok {
			f.retry = true // the file may be being replaced
		}
		return nil, f
	}
	if err := c.do(ctx, call, nil); err != nil {
		return found, lease{}, err
	}
	used, now := c.ram.value, time.Now()
	if found.Source != used.Source || found.Expires.IsZero() && found.ID != used.ID {
		c.config.Log.Info("RAM credentials found", "source", found.Source, "access_key", found.Key())
	}
	if found.Expires.IsZero() {
		return found, lease{until: now.Add(rereadAfter)}, nil
	}
	life := found.Expires.Sub(now)
	return found, lease{renew: now.Add(life * 2 / 3), until: now.Add(life * 9 / 10)}, nil
}

// RAM returns the RAM credentials found last; empty ones if none were found.
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
