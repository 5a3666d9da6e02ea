package page

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Applications that no entry takes are listed on the page, up to 100, and all as JSON; targets of listed ones show their id.
func TestUnwatched(t *testing.T) {
	const script = "<script>"
	s := &poller.Snapshot{
		Readings: []*poller.Reading{{Target: poller.Target{Consumer: "app_0", Provider: "p", Label: "named", Application: "app_0"}}},
		Unwatched: []poller.Unwatched{
			{Label: "agent", Listed: poller.Listed{Identifier: "app_1", Name: "agent", Type: "agent", Created: 1_577_836_800_500}},
			{Label: "app_2", Listed: poller.Listed{Identifier: "app_2", Name: script}},
			{Label: "0123456789ab", Listed: poller.Listed{Type: "application"}},
		},
	}
	status, targets := New(Config{Snapshot: func() *poller.Snapshot { return s }})
	list := Unwatched(func() *poller.Snapshot { return s })
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		switch {
		case strings.HasPrefix(path, "/api/v1/unwatched"):
			list.ServeHTTP(w, r)
		case path == "/":
			status.ServeHTTP(w, r)
		default:
			targets.ServeHTTP(w, r)
		}
		return w
	}
	const want = `[{"consumer":"agent","consumer_id":"app_1","name":"agent","identity":"agent","created":"2020-01-01T00:00:00Z"},` +
		`{"consumer":"app_2","consumer_id":"app_2","name":"\u003cscript>"},{"consumer":"0123456789ab","identity":"application"}]`
	if got := get("/api/v1/unwatched"); got.Body.String() != strings.ReplaceAll(want, `\u003c`, "<") ||
		got.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%s\nwant %s", got.Body, want)
	}
	if got := get("/api/v1/targets").Body.String(); !strings.Contains(got, `{"consumer":"named","consumer_id":"app_0",`) {
		t.Error(got)
	}
	html := get("/").Body.String()
	for _, part := range []string{
		"Applications that are not watched <small>(3)</small>", `<b><bdi>agent</bdi></b> <span class="at"><bdi>app_1</bdi></span> agent</li>`,
		`<b><bdi>app_2</bdi></b> </li>`, `<b><bdi>named</bdi></b></a> <span class="at"><bdi>app_0</bdi></span>`,
	} {
		if !strings.Contains(html, part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	for i := range 200 {
		s.Unwatched = append(s.Unwatched, poller.Unwatched{Label: fmt.Sprint("more", i)})
	}
	if html := get("/").Body.String(); strings.Count(html, "<li>") != 100 || !strings.Contains(html, "(203)") {
		t.Errorf("%d on the page", strings.Count(html, "<li>"))
	}
	if got := get("/api/v1/unwatched?q=x"); got.Code != 400 {
		t.Errorf("a parameter: %d", got.Code)
	}
	s.Unwatched = []poller.Unwatched{}
	if got := get("/api/v1/unwatched"); got.Body.String() != "[]" || strings.Contains(get("/").Body.String(), "not watched") {
		t.Errorf("none: %s", got.Body)
	}
	s.Unwatched = nil
	if got := get("/api/v1/unwatched"); got.Code != 404 || !strings.Contains(got.Body.String(), "IDAAS_CONSUMER_LABEL=name") {
		t.Errorf("unknown: %d %s", got.Code, got.Body)
	}
}
