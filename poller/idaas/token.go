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
	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth/ram"
)

// accessToken is the exporter's own token.
type accessToken struct {
	text    string
	expires time.Time       // zero: unknown, as is the next
	until   time.Time       // not sent from then on
	scope   string          // as the token endpoint says, which it need not
	hide    poller.Scrubber // of it, and of what it was got with
}

func (t accessToken) usable(now time.Time) bool {
	return t.text != "" && (t.until.IsZero() || now.Before(t.until))
}

// tokenSource hands out the access token to send. It is safe for concurrent use.
type tokenSource interface {
	get(ctx context.Context) (accessToken, error)
	// drop tells that the API refused t, and reports whether get may now return another.
	drop(t accessToken) bool
}

// readyToken is an access token made elsewhere.
type readyToken struct {
	credential auth.Credential
	timeout    time.Duration // to read it
	events     Events
}

func (r *readyToken) get(ctx context.Context) (accessToken, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	text, err := r.credential.Line(ctx)
	if err == nil && !sendable(text) {
		err = errNotSendable
	}
	t := accessToken{text: text, expires: jwtExpiration(text), hide: hideAccessToken(text)}
	t.until = t.expires
	if err == nil && !t.usable(time.Now()) {
		err = fmt.Errorf("it expired at %s", t.expires.UTC().Format(time.RFC3339))
	}
	if err != nil {
		r.events.AccessTokenFailed(poller.AccessToken)
		return accessToken{}, noCredential("the ready access token cannot be used: %w", err)
	}
	if !t.expires.IsZero() {
		r.events.AccessToken(t.expires)
	}
	return t, nil
}

func (r *readyToken) drop(t accessToken) bool {
	text, err := r.credential.Read(context.Background())
	return err == nil && text != t.text
}

// noCredential is the failure of a request for which a credential could not be read or is of no use.
func noCredential(format string, err error) *failure {
	f := fail(poller.AccessToken, format, err)
	f.retry = disk.Passing(err)
	if cause, ok := errors.AsType[*failure](err); ok {
		f.retry, f.hint = cause.retry, cause.hint
	}
	return f
}

// jwtExpiration returns the expiration of a JWT, at most the year 9999; zero when text is none or has none.
func jwtExpiration(text string) time.Time {
	claims := jwt.MapClaims{} // empty after an error, but for one of the signature
	_, _, _ = jwt.NewParser(jwt.WithJSONNumber()).ParseUnverified(text, claims)
	seconds, err := strconv.ParseFloat(fmt.Sprint(claims["exp"]), 64)
	if math.IsNaN(seconds) || err != nil && !errors.Is(err, strconv.ErrRange) {
		return time.Time{}
	}
	const lastYear = 253402300799 // its last second: no time format has more
	return time.UnixMilli(int64(min(max(seconds, 0), lastYear) * 1000))
}

// maxToken is more than servers accept in a header.
const maxToken = 64 << 10

var errNotSendable = fmt.Errorf("the access token is not 1 to %d visible ASCII characters", maxToken)

// hideAccessToken returns a Scrubber of an access token.
func hideAccessToken(text string) poller.Scrubber {
	return poller.Scrubber{}.Hide(text, "[access token]")
}

// sendable reports whether text can be an access token in a header.
func sendable(text string) bool {
	return text != "" && len(text) <= maxToken && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// fetchedToken gets access tokens from the token endpoint: one for all, renewed ahead of its expiration.
type fetchedToken struct{ shared[accessToken] }

func (s *fetchedToken) drop(t accessToken) bool {
	s.shared.drop(func(current accessToken) bool { return current.text == t.text })
	return true
}

// fetchToken asks the token endpoint and tells the outcome.
func (c *Client) fetchToken(ctx context.Context, renewing bool) (accessToken, lease, error) {
	retries := c.config.Retries
	if renewing {
		retries = 0
	}
	t, l, err := c.requestToken(ctx, retries)
	switch {
	case err == nil && !t.expires.IsZero():
		c.config.Events.AccessToken(t.expires)
	case err != nil && ctx.Err() == nil:
		c.config.Events.AccessTokenFailed(poller.ReasonOf(err))
	}
	return t, l, err
}

// settle is the time in which files that belong together, such as a key and its certificate, are all replaced.
const settle = time.Second

// requestToken requests an access token. If that is refused, and the credential is in files, it reads them once more a second
// later: one of them may just have been replaced.
func (c *Client) requestToken(ctx context.Context, retries int) (accessToken, lease, error) {
	at, err := c.instance.get(ctx)
	if err != nil {
		return accessToken{}, lease{}, err
	}
	var t accessToken
	var l lease
	var used *auth.Grant
	var refusal error // of used, when it is read once more
	call := &call{operation: OpToken, what: "access token", retries: retries}
	call.build = func(ctx context.Context) (*http.Request, error) {
		if c.config.Auth.Method == auth.RAM {
			return c.tokenByRAM(ctx, call, at)
		}
		if err := c.gate.wait(ctx); err != nil {
			return nil, err
		}
		reading, cancel := context.WithTimeout(ctx, c.config.Timeout)
		defer cancel()
		g, err := c.config.Auth.Grant(reading, at.ID, at.TokenEndpoint, func(req *http.Request, what string) ([]byte, error) {
			return c.sendForCredential(reading, ram.Request{
				Request: req, What: what, Secrets: req.Header["X-Aliyun-Ecs-Metadata-Token"], Direct: true,
			})
		})
		if refusal != nil && !g.Renewed(used) {
			return nil, refusal
		}
		used, refusal = g, nil
		if err != nil {
			return nil, noCredential("access token: %w", err)
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
	call.decode = func(body []byte) (err error) {
		t, l, err = decodeToken(body, call.sent)
		return err
	}
	request := func() error {
		err := c.do(ctx, call, new(bytes.Buffer))
		if f, ok := errors.AsType[*failure](err); ok && f.status/100 >= 3 && f.status/100 <= 4 && !f.throttled {
			f.cause.Reason = poller.AccessToken
		}
		return err
	}
	err = request()
	if err != nil && poller.ReasonOf(err) == poller.AccessToken && used != nil && used.FromFiles() && retries > 0 {
		refusal = err
		if err = c.gate.sleep(ctx, WaitBackoff, settle); err == nil {
			err = request()
		}
	}
	t.hide = call.hide.And(hideAccessToken(t.text))
	return t, l, err
}

// decodeToken reads a token response. Its life counts from when it was asked for, by the local clock, so that neither
// latency nor skew can make an expired token look alive.
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
	// It must still be alive when the request arrives, and the server may count in whole seconds.
	t.until = t.expires.Add(-min(2*time.Second, life/10))
	return t, lease{renew: sent.Add(life * 2 / 3), until: t.until}, nil
}

// seconds reads expires_in, which some send as a text; nothing is zero.
func seconds(v jsontext.Value) (time.Duration, error) {
	text := strings.TrimSpace(strings.Trim(string(v), `"`))
	if text == "" || text == "null" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if math.IsNaN(n) || err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, errors.New("expires_in is no number of seconds")
	}
	return time.Duration(min(max(n, 0), 1<<31) * float64(time.Second)).Truncate(time.Millisecond), nil
}

// scope reads a scope, which some send as a list. It is only shown: what is neither is none.
func scope(v jsontext.Value) string {
	var text string
	var list []string
	if json.Unmarshal(v, &text) != nil && json.Unmarshal(v, &list) != nil {
		return ""
	}
	return cmp.Or(text, strings.Join(list, " "))
}
