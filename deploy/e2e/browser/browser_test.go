package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// TestStatusPage looks at the demo's page in a real browser, once a target of it has lost access. With SCREENSHOT it
// makes the picture of the README instead.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	modules := e2e.Tool(t, "../browser/node_modules")
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: run make e2e-browser", err)
	}
	pictures, err := filepath.Abs("../artefacts")
	if err != nil {
		t.Fatal(err)
	}
	address, picture := e2e.FreeAddress(t), os.Getenv("SCREENSHOT")
	// The demo of two minutes ago: half a minute later its target is lost.
	var ago atomic.Int64
	if picture == "" {
		ago.Store(int64(2 * time.Minute))
	}
	demo := simulator.NewDemo(func() time.Time { return time.Now().Add(-time.Duration(ago.Load())) })
	ago.Store(0)
	environ, stop, err := demo.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	e2e.Start(t, append(environ, "IDAAS_LISTEN_ADDRESS="+address, "IDAAS_POLL_SCHEDULE=@every 15s"), e2e.Exporter(t))
	// The page is served below a path, as by a reverse proxy.
	const prefix = "/tools/idaas"
	proxy := httptest.NewServer(http.StripPrefix(prefix, httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})))
	t.Cleanup(proxy.Close)
	page := proxy.URL + prefix + "/"
	e2e.WaitFor(t, page+"-/ready")
	if picture == "" {
		e2e.Eventually(t, 5*time.Minute, "a lost target", func() error {
			answer, err := e2e.Get(t.Context(), page+"api/v1/targets?state=lost")
			if err == nil && !strings.Contains(answer, `"nightly-report"`) {
				err = fmt.Errorf("%s", answer)
			}
			return err
		})
	}
	node := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", "page.mjs")
	node.Env = append(os.Environ(), "PAGE="+page, "MODULES="+modules, "CHROMIUM="+browser, "PICTURES="+pictures)
	out, err := node.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Error(err)
	}
}

// TestPictureOfTheREADME: it is there, and does not make a clone slow.
func TestPictureOfTheREADME(t *testing.T) {
	const picture = "deploy/status-page.png"
	if !strings.Contains(e2e.ReadFile(t, e2e.Root+"/README.md"), "]("+picture+")") {
		t.Errorf("the README does not show %s", picture)
	}
	info, err := os.Stat(filepath.Join(e2e.Root, picture))
	if err != nil {
		t.Fatal(err, ": run make screenshot")
	}
	if info.Size() >= 200_000 {
		t.Errorf("%d bytes", info.Size())
	}
}
