package web

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRoutes(t *testing.T) {
	all, probes := handlers(t, plain())
	const every = "GET, HEAD"
	for _, tt := range []struct {
		method, path string
		all, probes  int
		allow        string // of a 405
	}{
		{"GET", "/", 200, 404, ""},
		{"HEAD", "/", 200, 404, ""},
		{"POST", "/", 405, 404, every},
		{"GET", "/api/v1/targets", 200, 404, ""},
		{"HEAD", "/api/v1/targets", 200, 404, ""},
		{"POST", "/api/v1/targets", 405, 404, every},
		{"GET", "/api/v1/targets?stat=ok", 400, 404, ""},
		{"GET", "/?stat=ok", 200, 404, ""},
		{"GET", "/?state=nonsense", 400, 404, ""},
		{"GET", "/api/v1/", 404, 404, ""},
		{"GET", "/api/v1/unwatched", 404, 404, ""}, // unknown
		{"POST", "/api/v1/unwatched", 405, 404, every},
		{"GET", "/metrics", 200, 404, ""},
		{"POST", "/metrics", 405, 404, every},
		{"DELETE", "/metrics", 405, 404, every},
		{"GET", "/-/healthy", 200, 200, ""},
		{"HEAD", "/-/healthy", 200, 200, ""},
		{"POST", "/-/healthy", 405, 405, every},
		{"GET", "/-/ready", 200, 200, ""},
		{"HEAD", "/-/ready", 200, 200, ""},
		{"PUT", "/-/ready", 405, 405, every},
		{"POST", "/-/reload", 200, 404, ""},
		{"GET", "/-/reload", 405, 404, "POST"},
		{"PUT", "/-/reload", 405, 404, "POST"},
		{"GET", "/nothing", 404, 404, ""},
		{"POST", "/nothing", 404, 404, ""},
		{"GET", "/metrics/", 404, 404, ""},
		{"GET", "/debug/pprof/", 404, 404, ""},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			w := ask(all, tt.method, tt.path)
			if w.Code != tt.all {
				t.Errorf("%d, want %d", w.Code, tt.all)
			}
			if got := w.Header().Get("Allow"); got != tt.allow {
				t.Errorf("Allow: %q, want %q", got, tt.allow)
			}
			if w := ask(probes, tt.method, tt.path); w.Code != tt.probes {
				t.Errorf("probe listener: %d, want %d", w.Code, tt.probes)
			}
		})
	}
}

func TestStatusPage(t *testing.T) {
	all, _ := handlers(t, plain())
	w := ask(all, "GET", "/")
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/html") {
		t.Errorf("Content-Type %q, want HTML", got)
	}
	page := w.Body.String()
	for _, want := range []string{"IDaaS token exporter", "1.2.3-test", `href="metrics"`, `href="-/ready"`, `href="api/v1/targets?`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	// A link to what is not served.
	if strings.Contains(page, "debug/pprof") {
		t.Error("the page offers profiles")
	}
}

func TestHealthAnswersInPlainText(t *testing.T) {
	all, _ := handlers(t, plain())
	for path, want := range map[string]string{"/-/healthy": "healthy\n", "/-/ready": "ready\n"} {
		w := ask(all, "GET", path)
		if got := w.Body.String(); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		if got, want := w.Header().Get("Content-Type"), "text/plain; charset=utf-8"; got != want {
			t.Errorf("%s: Content-Type %q, want %q", path, got, want)
		}
	}
}

func TestReadyLatches(t *testing.T) {
	c := plain()
	var ready bool
	c.Ready = func() bool { return ready }
	all, probes := handlers(t, c)
	for _, step := range []struct {
		ready bool
		want  int
	}{{false, 503}, {false, 503}, {true, 200}, {false, 200}, {true, 200}, {false, 200}} {
		ready = step.ready
		w := ask(all, "GET", "/-/ready")
		if w.Code != step.want {
			t.Errorf("ready %t: %d, want %d", step.ready, w.Code, step.want)
		}
		if w.Code == 503 && !strings.Contains(w.Body.String(), "some targets") {
			t.Errorf("body %q lacks the reason", w.Body)
		}
		// Both listeners must tell the same.
		if w := ask(probes, "GET", "/-/ready"); w.Code != step.want {
			t.Errorf("ready %t: %d on the probe listener, want %d", step.ready, w.Code, step.want)
		}
		if w := ask(all, "GET", "/-/healthy"); w.Code != 200 {
			t.Errorf("ready %t: %d, but health does not depend on readiness", step.ready, w.Code)
		}
	}
}

// TestReadyIsSharedByTheListeners: readiness on one listener holds for the other.
func TestReadyIsSharedByTheListeners(t *testing.T) {
	c := plain()
	ready := true
	c.Ready = func() bool { return ready }
	all, probes := handlers(t, c)
	ask(probes, "GET", "/-/ready")
	ready = false
	if w := ask(all, "GET", "/-/ready"); w.Code != 200 {
		t.Errorf("%d after the probe listener answered 200", w.Code)
	}
}

func TestReadyAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := plain()
		c.Ready = func() bool { return false }
		all, _ := handlers(t, c)
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{time.Minute - 1, 503}, {1, 200}, {time.Hour, 200}} {
			time.Sleep(step.wait)
			if w := ask(all, "GET", "/-/ready"); w.Code != step.want {
				t.Errorf("after %s more: %d, want %d", step.wait, w.Code, step.want)
			}
		}
	})
}

func TestReload(t *testing.T) {
	for _, tt := range []struct {
		name    string
		fault   error
		headers []string
		status  int
		body    string
		calls   int
	}{
		{"by a command", nil, nil, 200, "reloaded\n", 1},
		{
			"with a fault", errors.New(`targets.yml:7: unknown key "consumr"`), nil, 400,
			"targets not reloaded:\ntargets.yml:7: unknown key \"consumr\"\n", 1,
		},
		{"by a browser, same origin", nil, []string{"Sec-Fetch-Site", "same-origin"}, 200, "reloaded\n", 1},
		{"by a browser, typed", nil, []string{"Sec-Fetch-Site", "none"}, 200, "reloaded\n", 1},
		{"by another site", nil, []string{"Sec-Fetch-Site", "cross-site"}, 403, "", 0},
		{"by another host of the site", nil, []string{"Sec-Fetch-Site", "same-site"}, 403, "", 0},
		{"by an old browser, other origin", nil, []string{"Origin", "https://evil.example"}, 403, "", 0},
		{"by an old browser, same origin", nil, []string{"Origin", "http://example.com"}, 200, "reloaded\n", 1},
		{"by a sandboxed frame", nil, []string{"Origin", "null"}, 403, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := plain()
			calls := 0
			c.Reload = func() error { calls++; return tt.fault }
			all, _ := handlers(t, c)
			w := ask(all, "POST", "/-/reload", tt.headers...)
			if w.Code != tt.status {
				t.Errorf("%d, want %d", w.Code, tt.status)
			}
			if tt.body != "" && w.Body.String() != tt.body {
				t.Errorf("body %q, want %q", w.Body, tt.body)
			}
			if calls != tt.calls {
				t.Errorf("reloaded %d times, want %d", calls, tt.calls)
			}
		})
	}
}

func TestReloadOnlyByPost(t *testing.T) {
	c := plain()
	c.Reload = func() error { t.Error("reloaded"); return nil }
	all, probes := handlers(t, c)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodOptions} {
		ask(all, method, "/-/reload")
	}
	ask(probes, http.MethodPost, "/-/reload")
}

// TestPagesOpenFromAnotherSite: a link in a chat opens the page.
func TestPagesOpenFromAnotherSite(t *testing.T) {
	all, _ := handlers(t, plain())
	for _, path := range []string{"/", "/api/v1/targets", "/metrics", "/-/healthy"} {
		if w := ask(all, "GET", path, "Sec-Fetch-Site", "cross-site"); w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
