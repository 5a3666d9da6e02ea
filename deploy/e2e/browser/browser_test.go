package browser

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// TestStatusPage checks the demo's page in a real browser. With SCREENSHOT it makes the picture of the README instead.
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
	address := e2e.FreeAddress(t)
	demo := simulator.NewDemo(nil)
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
	node := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", "page.mjs")
	node.Env = append(os.Environ(), "PAGE="+page, "MODULES="+modules, "CHROMIUM="+browser, "PICTURES="+pictures)
	out, err := node.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Error(err)
	}
}

// TestPictureOfTheREADME checks that the picture exists and is small.
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
