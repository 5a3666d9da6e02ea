package idaas

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// forms are the encodings in which a text may be returned.
func forms(s string) map[string]string {
	quoted, _ := json.Marshal(s)
	escaped := strings.Trim(string(quoted), `"`)
	all := func(format string) string {
		var out strings.Builder
		for _, r := range s {
			fmt.Fprintf(&out, format, r)
		}
		return out.String()
	}
	return map[string]string{
		"raw":         s,
		"query":       url.QueryEscape(s),
		"path":        url.PathEscape(s),
		"lower case":  lowerEscapes(url.QueryEscape(s)),
		"json":        escaped,
		"json, slash": strings.ReplaceAll(escaped, "/", `\/`),
		"json, all":   all(`\u%04x`),
		"html, all":   all("&#%d;"),
		"html, hex":   all("&#x%06X;"),
		"html, at":    strings.ReplaceAll(s, "@", "&#64;"),
		"go":          strings.Trim(strconv.Quote(s), `"`),
		"small":       strings.ToLower(s),
		"large":       strings.ToUpper(s),
		"query small": url.QueryEscape(strings.ToLower(s)),
		"twice":       url.QueryEscape(url.QueryEscape(s)),
		"html":        html.EscapeString(s),
		"ascii":       strings.Trim(strconv.QuoteToASCII(s), `"`),
		"base64":      base64.StdEncoding.EncodeToString([]byte(s)),
		"base64 raw":  base64.RawStdEncoding.EncodeToString([]byte(s)),
		"base64 url":  base64.URLEncoding.EncodeToString([]byte(s)),
	}
}

func lowerEscapes(s string) string {
	out := []byte(s)
	for i := range out {
		if out[i] == '%' {
			copy(out[i:], strings.ToLower(s[i:i+3]))
		}
	}
	return string(out)
}

// leaks returns the forms of a secret that are in a text.
func leaks(text string, forms map[string]string) []string {
	var found []string
	for name, form := range forms {
		if strings.Contains(text, form) {
			found = append(found, name)
		}
	}
	return found
}

// shown is all output of a poll.
func (a *api) shown(p *poller.Poller) string {
	text := a.log.String()
	for _, r := range p.Snapshot().Readings {
		if r.Failure != nil {
			text += r.Failure.Text + "\n"
		}
		if r.Census != nil {
			text += fmt.Sprintf("%+v %+v\n", r.Census, r.Census.Info)
		}
	}
	return text
}

// Bodies with a text, inside a JSON string or as plain text.
var echoes = []string{
	`{"error":"x","error_description":"you sent %s here"}`,
	`{"error":"%s"}`,
	`{"code":"%s","message":"%s","requestId":"%s"}`,
	`{"Code":"x","Message":"x","RequestId":"%s"}`,
	`{"entities":"%s"}`,
	`{"entities":[{"authenticationTokenId":"a","expirationTime":"%s"}]}`,
	`{"entities":[{"authenticationTokenId":"a","revoked":"%s"}]}`,
	`{"%s":1,"%s":2}`,
	`{"entities":[{"%s":{},"%s":{}}]}`,
	`{"access_token":"a b %s"}`,
	`{"access_token":"a","expires_in":"%s"}`,
	`{"entities":[] %s`,
	`%s`,
	`<html>%s</html>`,
}

// The API returns confidential parts of requests in every encoding.
func TestSecretsSentBackAreNotShown(t *testing.T) {
	t.Parallel()
	const consumer = `someone+else@example.com/"x" <ä>`
	for _, tt := range []struct {
		name      string
		operation string // whose response contains it
		ready     bool   // the access token is
		secret    func(token string) string
	}{
		{"client secret", simulator.Access, false, func(string) string { return testSecret }},
		{"client secret, to another", simulator.List, false, func(string) string { return testSecret }},
		{"access token", simulator.List, true, func(token string) string { return token }},
		{"consumer id", simulator.List, true, func(string) string { return consumer }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				a.Add(consumer, "provider", mixed("t", 3)...)
				token := a.accessTokenOf(t)
				all := forms(tt.secret(token))
				if !tt.ready {
					all["base64 basic"] = base64.StdEncoding.EncodeToString([]byte(testClient + ":" + testSecret))
				}
				cases := 0
				for _, status := range []int{200, 302, 403} {
					for _, echo := range echoes {
						done := map[string]bool{}
						for form, text := range all {
							if done[text] {
								continue
							}
							done[text] = true
							options := []func(*Config){retries(0), pageSize(20)}
							if tt.ready {
								options = append(options, readyText(token))
							} else {
								method := []string{"client_secret_post", "client_secret_basic"}[cases%2]
								if form == "base64 basic" {
									method = "client_secret_basic"
								}
								options = append(options, func(c *Config) { c.Auth.Method = method })
							}
							f := simulator.Fault{Operation: tt.operation, Kind: simulator.Status, Status: status, Body: strings.ReplaceAll(echo, "%s", text)}
							if status == http.StatusFound {
								f.Kind, f.Body = simulator.Redirect, "https://elsewhere.test/?sent="+text
							}
							a.log.reset()
							remove := a.Inject(f)
							p := a.poller(a.client(options...), 1, poller.Target{Consumer: consumer, Provider: "provider", Label: "alias"})
							p.Once(t.Context())
							remove()
							if p.Snapshot().Readings[0].Failure == nil && status != http.StatusOK {
								t.Errorf("%d %s: no failure", status, f.Body)
							}
							if found := leaks(a.shown(p), all); len(found) > 0 {
								t.Errorf("status %d, sent back as %s in %s: shown as %v:\n%s", status, form, echo, found, a.shown(p))
							}
							cases++
						}
					}
				}
				t.Logf("%d cases", cases)
			})
		})
	}
}

// Responses that are not HTTP are quoted in the errors of net/http.
func TestSecretsInBrokenAnswersAreNotShown(t *testing.T) {
	const consumer, token = "someone@example.com", "the-access-token"
	for _, answer := range []string{
		"%s\r\n\r\n", "HTTP/1.1 %s\r\n\r\n", "HTTP/1.1 200 OK\r\n%s\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://[%s\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 403 Forbidden\r\nX-Acs-Request-Id: %s\r\nContent-Length: 0\r\n\r\n",
	} {
		for _, secret := range []string{consumer, token} {
			synctest.Test(t, func(t *testing.T) {
				a := &api{}
				a.serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					fmt.Fprintf(conn, answer, secret)
					conn.Close()
				}))
				p := a.poller(a.client(retries(0), readyText(token)), 1, poller.Target{Consumer: consumer, Provider: "provider", Label: "alias"})
				p.Once(t.Context())
				if r := p.Snapshot().Readings[0]; r.Failure == nil {
					t.Errorf("%q: no failure", answer)
				}
				if found := leaks(a.shown(p), forms(secret)); len(found) > 0 {
					t.Errorf("%q: shown as %v:\n%s", answer, found, a.shown(p))
				}
			})
		}
	}
}

func TestAConsumerIdThatIsItsLabelIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(1, 1)
		a.Inject(simulator.Fault{
			Operation: simulator.List, Kind: simulator.Status, Status: 403,
			Body: `{"error":"forbidden","error_description":"consumer-0 is not yours"}`,
		})
		r := a.poll(t, a.client(), targets...)[0]
		if r.Failure == nil || !strings.Contains(r.Failure.Text, "forbidden: consumer-0 is not yours") {
			t.Errorf("%+v", r.Failure)
		}
	})
}

// A text of any size instead of an access token is refused. Nothing of it or of the client secret is shown.
func TestAnAccessTokenHasALimit(t *testing.T) {
	for size, fails := range map[int]bool{maxToken: false, maxToken + 1: true, 3 << 20: true} {
		token := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		for name, option := range map[string]func(*Config){"ready": readyText(token), "fetched": retries(0)} {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				a.Inject(simulator.Fault{Operation: simulator.Access, Kind: simulator.Status, Status: 200, Body: `{"access_token":"` + token + `"}`})
				a.Inject(simulator.Fault{
					Operation: simulator.List, Kind: simulator.Status, Status: 403,
					Body: `{"error":"no ` + token[:1000] + ` ` + url.QueryEscape(testSecret) + `"}`,
				})
				p := a.poller(a.client(option), 1, a.fill(1, 1)...)
				p.Once(t.Context())
				f := p.Snapshot().Readings[0].Failure
				if f == nil || fails != (f.Reason == poller.AccessToken || f.Reason == poller.Malformed) || fails &&
					!strings.Contains(f.Text, "the access token is not 1 to 65536 visible ASCII characters") {
					t.Errorf("%s, %d bytes: %+v", name, size, f)
				}
				if shown := a.shown(p); strings.Contains(shown, token[:16]) || len(leaks(shown, forms(testSecret))) > 0 && name == "fetched" {
					t.Errorf("%s, %d bytes: shown in %.1000s", name, size, shown)
				}
			})
		}
	}
}
