package idaas

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// accessTokenOf returns an access token that was requested by another client, for use as a ready token.
func (a *api) accessTokenOf(t *testing.T) string {
	t.Helper()
	token, _, err := a.client(func(c *Config) { c.Events = nil }).requestToken(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return token.text
}

func TestAReadyToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(3, 30)
		token := a.accessTokenOf(t)
		c := a.client(readyText(token), pageSize(10))
		for _, r := range a.poll(t, c, targets...) {
			a.checkCounts(t, r)
		}
		if n := a.Requests(simulator.Access); n != 1 {
			t.Errorf("%d token requests, want none but ours", n)
		}
		if expires := a.events.soFar().expires; len(expires) == 0 || !expires[0].Equal(time.Date(2020, 1, 1, 0, 20, 0, 0, time.UTC)) {
			t.Errorf("reported expirations %v", expires)
		}

		time.Sleep(20*time.Minute - time.Second)
		before := a.Requests("")
		a.checkCounts(t, a.poll(t, c, targets[0])[0])
		if a.Requests("") == before {
			t.Error("the token still has a second to live, and was not used")
		}

		time.Sleep(time.Second)
		before = a.Requests("")
		r := a.poll(t, c, targets[0])[0]
		if r.Failure == nil || r.Failure.Reason != poller.AccessToken || !strings.Contains(r.Failure.Text, "expired at 2020-01-01T00:20:00Z") {
			t.Errorf("after its life: %+v", r.Failure)
		}
		if n := a.Requests("") - before; n != 0 {
			t.Errorf("%d requests with an expired token", n)
		}
		if events := a.events.soFar(); events.failed[poller.AccessToken] != 1 {
			t.Errorf("reported failures %v", events.failed)
		}
	})
}

func TestAReadyTokenThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		r := a.poll(t, a.client(readyText("opaque")), a.fill(1, 3)...)[0]
		if r.Failure == nil || r.Failure.Reason != poller.Unauthorized || a.Requests("") != 1 {
			t.Errorf("%+v by %d requests, want unauthorized by one", r.Failure, a.Requests(""))
		}
	})
}

func TestATokenFileIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(1, 30)
		c := a.client(ready(auth.Credential{File: file}), pageSize(10))
		fails := func(when string) {
			t.Helper()
			before := a.Requests("")
			r := a.poll(t, c, targets...)[0]
			if r.Failure == nil || r.Failure.Reason != poller.AccessToken || a.Requests("") != before {
				t.Errorf("%s: %+v by %d requests", when, r.Failure, a.Requests("")-before)
			}
		}
		fails("no file")
		writeFile(t, file, " \n")
		fails("a blank file")
		writeFile(t, file, "two words\n")
		fails("no token")

		writeFile(t, file, a.accessTokenOf(t)+"\n")
		a.checkCounts(t, a.poll(t, c, targets...)[0])
		time.Sleep(21 * time.Minute)
		fails("the file went stale")
		writeFile(t, file, "\t"+a.accessTokenOf(t))
		a.checkCounts(t, a.poll(t, c, targets...)[0])

		// Rotated between two pages: the walk must continue with the new one.
		next := a.accessTokenOf(t)
		p := a.poller(c, 1, targets...)
		pages := 0
		for _, err := range c.Pages(t.Context(), targets[0]) {
			if err != nil {
				t.Fatal(err)
			}
			if pages++; pages == 1 {
				a.RevokeAccessTokens()
				next = a.accessTokenOf(t)
				writeFile(t, file, next)
			}
		}
		p.Once(t.Context())
		a.checkCounts(t, p.Snapshot().Readings[0])
		for _, r := range a.Log()[len(a.Log())-3:] {
			if r.AccessToken != next {
				t.Error("the rotated token was not the one sent")
			}
		}
	})
}

// The API may refuse the old token of a file after its rotation, before the next request is built.
func TestATokenFileRotatedDuringARequest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(1, 3)
		writeFile(t, file, a.accessTokenOf(t))
		a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Status, Status: 401, Delay: 2 * time.Second, Times: 1})
		c := a.client(ready(auth.Credential{File: file}))
		go func() {
			time.Sleep(time.Second)
			token, _, err := a.client().requestToken(context.Background(), 0)
			if err == nil {
				err = os.WriteFile(file, []byte(token.text), 0o600)
			}
			if err != nil {
				t.Error(err)
			}
		}()
		a.checkCounts(t, a.poll(t, c, targets...)[0])
		if n := a.Requests(simulator.List); n != 2 {
			t.Errorf("%d list requests, want the refused and the good one", n)
		}
	})
}

func TestASecretFileThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	writeFile(t, path("empty"), "")
	writeFile(t, path("blank"), " \r\n\t")
	writeFile(t, path("mark"), "\ufeff \n")
	writeFile(t, path("lines"), "hush\nhush\n")
	writeFile(t, path("mark inside"), "hush\ufeffhush")
	writeFile(t, path("zero width"), "hush\u200b")
	writeFile(t, path("no-break"), "hush\u00a0hush")
	writeFile(t, path("NUL"), "hush\x00")
	writeFile(t, path("escape"), "\x1b[31mhush")
	writeFile(t, path("Latin 1"), "hush\xe9")
	writeFile(t, path("UTF-16"), "\xff\xfeh\x00")
	for _, tt := range []struct{ file, says string }{
		{path("missing"), "no such file"},
		{dir, "is a directory"},
		{path("empty"), "is empty"},
		{path("blank"), "is empty"},
		{os.DevNull, "is empty"},
		{path("mark"), "is empty"},
		{path("lines"), "has a line break in it"},
		{path("mark inside"), "the invisible character U+FEFF in it"},
		{path("zero width"), "the invisible character U+200B in it"},
		{path("no-break"), "the invisible character U+00A0 in it"},
		{path("NUL"), "the invisible character U+0000 in it"},
		{path("escape"), "the invisible character U+001B in it"},
		{path("Latin 1"), "bytes in it that are no UTF-8"},
		{path("UTF-16"), "UTF-16 text: save it as UTF-8"},
		{"/dev/zero", "longer than 65536 bytes"},
	} {
		for _, method := range []string{"client_secret_post", "client_secret_basic"} {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				c := a.client(func(c *Config) { c.Auth.Method, c.Auth.Secret = method, auth.Credential{File: tt.file} })
				r := a.poll(t, c, a.fill(1, 3)...)[0]
				if r.Failure == nil || r.Failure.Reason != poller.AccessToken || !strings.Contains(r.Failure.Text, tt.says) ||
					!strings.Contains(r.Failure.Text, tt.file) ||
					strings.Contains(r.Failure.Text, "hush") {
					t.Errorf("%s: %+v, want %q", tt.file, r.Failure, tt.says)
				}
				if n := a.Requests(""); n != 0 {
					t.Errorf("%s: %d requests", tt.file, n)
				}
			})
		}
	}
}

func TestASecretFileIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	writeFile(t, file, "old\n")
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(2, 3)
		c := a.client(func(c *Config) { c.Auth.Secret = auth.Credential{File: file} })
		if failed := failures(a.poll(t, c, targets...)); failed[poller.AccessToken] != 2 {
			t.Errorf("with the wrong secret: %v", failed)
		}
		for _, text := range []string{testSecret + "\r\n", "\ufeff" + testSecret + "\n"} {
			writeFile(t, file, text)
			a.RevokeAccessTokens()
			time.Sleep(2 * time.Second)
			for _, r := range a.poll(t, c, targets...) {
				a.checkCounts(t, r)
			}
		}
	})
}

// A file that cannot be read in time fails the requests that need it, and the error names it.
func TestCredentialsInAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	file := auth.Credential{File: pipe}
	c := New(Config{
		InstanceID: "i", Endpoint: "https://x", TokenEndpoint: "https://x/token", Auth: auth.Identity{Method: "oidc", IDToken: file},
		RateLimit: 1000, Timeout: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	})
	if _, err := c.token(t.Context()); err == nil || !strings.Contains(err.Error(), pipe) || poller.ReasonOf(err) != poller.AccessToken {
		t.Error(err)
	}
	c.config.AccessToken = file
	if _, err := c.token(t.Context()); err == nil || !strings.Contains(err.Error(), pipe) || poller.ReasonOf(err) != poller.AccessToken {
		t.Error(err)
	}
}

// A secret that is set as the name of its file is not shown.
func TestASecretAsTheNameOfItsFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		c := a.client(func(c *Config) { c.Auth.Secret = auth.Credential{File: "hunter2\n-----BEGIN"} })
		r := a.poll(t, c, a.fill(1, 1)...)[0]
		if r.Failure == nil || r.Failure.Reason != poller.AccessToken || strings.Contains(r.Failure.Text, "hunter2") {
			t.Errorf("%+v", r.Failure)
		}
	})
}
