package idaas

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
)

// maxToken is more than servers accept in a header.
const maxToken = 64 << 10

var errNotSendable = fmt.Errorf("the access token is not 1 to %d visible ASCII characters", maxToken)

// accessToken is the exporter's own token.
type accessToken struct {
	text    string
	expires time.Time       // zero: unknown
	until   time.Time       // not sent from then on; zero: unknown
	scope   string          // as returned by the token endpoint; may be empty
	hide    poller.Scrubber // of the token and the credentials sent for it
}

func (t accessToken) usable(now time.Time) bool {
	return t.text != "" && (t.until.IsZero() || now.Before(t.until))
}

// token returns the access token to send: the ready one of the Config, or a fetched one that all requests share.
func (c *Client) token(ctx context.Context) (accessToken, error) {
	if c.config.AccessToken.Given() {
		return c.readyToken(ctx)
	}
	return c.tokens.get(ctx)
}

// dropToken removes an access token that the API refused, and reports whether token may return another one.
func (c *Client) dropToken(refused accessToken) bool {
	if c.config.AccessToken.Given() {
		text, err := c.config.AccessToken.Read(context.Background())
		return err == nil && text != refused.text
	}
	c.tokens.drop(func(t accessToken) bool { return t.text == refused.text })
	return true
}

// readyToken reads the access token of the Config.
func (c *Client) readyToken(ctx context.Context) (accessToken, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	text, err := c.config.AccessToken.Line(ctx)
	if err == nil && !sendable(text) {
		err = errNotSendable
	}
	t := accessToken{text: text, expires: jwtExpiration(text), hide: hideAccessToken(text)}
	t.until = t.expires
	if err == nil && !t.usable(time.Now()) {
		err = fmt.Errorf("it expired at %s", t.expires.UTC().Format(time.RFC3339))
	}
	if err != nil {
		c.config.Events.AccessTokenFailed(poller.AccessToken)
		return accessToken{}, failBecause(poller.AccessToken, "ready access token not usable: %w", err)
	}
	if !t.expires.IsZero() {
		c.config.Events.AccessToken(t.expires)
	}
	return t, nil
}

// jwtExpiration returns the expiration of a JWT, at most in the year 9999; zero if text is no JWT or has none.
func jwtExpiration(text string) time.Time {
	claims := jwt.MapClaims{} // empty after all errors but those of the signature
	_, _, _ = jwt.NewParser(jwt.WithJSONNumber()).ParseUnverified(text, claims)
	seconds, err := strconv.ParseFloat(fmt.Sprint(claims["exp"]), 64)
	if math.IsNaN(seconds) || err != nil && !errors.Is(err, strconv.ErrRange) {
		return time.Time{}
	}
	const lastSecond = 253402300799 // of the year 9999, the last one of time formats
	return time.UnixMilli(int64(min(max(seconds, 0), lastSecond) * 1000))
}

// hideAccessToken returns a Scrubber of an access token.
func hideAccessToken(text string) poller.Scrubber {
	return poller.Scrubber{}.Hide(text, "[access token]")
}

// sendable reports whether text can be an access token in a header.
func sendable(text string) bool {
	return text != "" && len(text) <= maxToken && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// fetchToken requests an access token and reports the outcome.
func (c *Client) fetchToken(ctx context.Context, renewing bool) (accessToken, lease, error) {
	t, l, err := c.requestToken(ctx, c.retries(renewing))
	switch {
	case err == nil && !t.expires.IsZero():
		c.config.Events.AccessToken(t.expires)
	case err != nil && ctx.Err() == nil:
		c.config.Events.AccessTokenFailed(poller.ReasonOf(err))
	}
	return t, l, err
}

// requestToken requests an access token.
func (c *Client) requestToken(ctx context.Context, retries int) (t accessToken, l lease, err error) {
	at, err := c.instance.get(ctx)
	if err != nil {
		return t, l, err
	}
	call := &call{operation: OpToken, what: "access token", retries: retries}
	call.decode = func(body []byte) error {
		t, l, err = decodeToken(body, call.sent)
		return err
	}
	if c.config.Auth.Method == auth.RAM {
		call.build = func(ctx context.Context) (*http.Request, error) { return c.tokenByRAM(ctx, call, at) }
	} else {
		c.tokenByGrant(call, at)
	}
	err = c.do(ctx, call, new(bytes.Buffer))
	t.hide = call.hide.And(hideAccessToken(t.text))
	return t, l, err
}

// replaceTime is the time in which files that belong together, such as a key and its certificate, are all replaced.
const replaceTime = time.Second

// tokenByGrant makes call a request to the token endpoint. If it is refused, and the credential is in files, they are read again
// after replaceTime, because they may be being replaced.
func (c *Client) tokenByGrant(call *call, at Instance) {
	grant := func(ctx context.Context) (*auth.Grant, error) {
		ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
		defer cancel()
		return c.config.Auth.Grant(ctx, at.ID, at.TokenEndpoint, c.sendForCredential)
	}
	var used *auth.Grant
	call.build = func(ctx context.Context) (*http.Request, error) {
		if err := c.developer.wait(ctx); err != nil {
			return nil, err
		}
		g, err := grant(ctx)
		if used = g; err != nil {
			return nil, failBecause(poller.AccessToken, "access token: %w", err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.TokenEndpoint, strings.NewReader(g.Form.Encode()))
		if err != nil {
			return nil, fail(poller.AccessToken, "access token: %w", err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if g.Basic != "" {
			req.Header.Set("Authorization", "Basic "+g.Basic)
		}
		call.hide = hidden(g.Secrets)
		return req, nil
	}
	call.renew = func(ctx context.Context) bool {
		if !used.FromFiles() || call.retries == 0 || c.developer.sleep(ctx, WaitBackoff, replaceTime) != nil {
			return false
		}
		g, _ := grant(ctx)
		return g.Renewed(used)
	}
}

// decodeToken decodes a token response. The lifetime begins when the request was sent, by the local clock: neither latency nor clock
// skew makes an expired token look usable.
func decodeToken(body []byte, sent time.Time) (accessToken, lease, error) {
	var w struct {
		AccessToken string         `json:"access_token"`
		ExpiresIn   jsontext.Value `json:"expires_in"`
		Scope       jsontext.Value `json:"scope"`
		ByRAM       struct {
			AccessToken string
			ExpiresIn   jsontext.Value
		} `json:"TokenResponse"`
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return accessToken{}, lease{}, err
	}
	if w.AccessToken == "" {
		w.AccessToken, w.ExpiresIn = w.ByRAM.AccessToken, w.ByRAM.ExpiresIn
	}
	if !sendable(w.AccessToken) {
		return accessToken{}, lease{}, errNotSendable
	}
	life, err := seconds(w.ExpiresIn)
	if err != nil {
		return accessToken{}, lease{}, err
	}
	t := accessToken{text: w.AccessToken, scope: scope(w.Scope)}
	if life <= 0 {
		return t, lease{}, nil
	}
	t.expires = sent.Add(life)
	// It must be valid when the request arrives, and the server may compute in whole seconds.
	t.until = t.expires.Add(-min(2*time.Second, life/10))
	return t, lease{renew: sent.Add(life * 2 / 3), until: t.until}, nil
}

// seconds decodes expires_in, which may be a text. It returns 0 if there is none.
func seconds(v jsontext.Value) (time.Duration, error) {
	text := strings.TrimSpace(strings.Trim(string(v), `"`))
	if text == "" || text == "null" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if math.IsNaN(n) || err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, errors.New("expires_in is not a number of seconds")
	}
	return time.Duration(min(max(n, 0), 1<<31) * float64(time.Second)).Truncate(time.Millisecond), nil
}

// scope decodes a scope for display. It may be a list. Any other type is ignored.
func scope(v jsontext.Value) string {
	var text string
	var list []string
	if json.Unmarshal(v, &text) != nil && json.Unmarshal(v, &list) != nil {
		return ""
	}
	return cmp.Or(text, strings.Join(list, " "))
}
