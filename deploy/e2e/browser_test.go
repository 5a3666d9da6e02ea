package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStatusPage looks at the demo's page in a real browser, once a target of it has lost access. With SCREENSHOT it
// makes the picture of the README instead.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	modules := filepath.Join(filepath.Dir(tool(t, "promtool")), "../browser/node_modules")
	if !exists(modules + "/playwright-core") {
		t.Fatalf("playwright-core is not in %s: run make -C deploy/e2e tools", modules)
	}
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: run make -C deploy/e2e tools", err)
	}
	pictures, err := filepath.Abs("artefacts")
	if err != nil {
		t.Fatal(err)
	}
	address, picture := freeAddress(t), os.Getenv("SCREENSHOT")
	start(t, []string{"IDAAS_LISTEN_ADDRESS=" + address}, exporter(t), "demo")
	page := "http://" + address + "/"
	waitFor(t, page+"-/ready")
	if picture == "" {
		eventually(t, 5*time.Minute, "a lost target", func() error {
			answer, err := get(t.Context(), page+"api/v1/targets?state=lost")
			if err == nil && !strings.Contains(answer, `"nightly-report"`) {
				err = fmt.Errorf("%s", answer)
			}
			return err
		})
	}
	node := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", "browser/page.mjs")
	node.Env = append(os.Environ(), "PAGE="+page, "MODULES="+modules, "CHROMIUM="+browser, "PICTURES="+pictures)
	out, err := node.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Error(err)
	}
}

// TestPictureOfTheREADME: it is there, and does not make a clone slow.
func TestPictureOfTheREADME(t *testing.T) {
	const picture = "deploy/status-page.png"
	if !strings.Contains(readFile(t, root+"/README.md"), "]("+picture+")") {
		t.Errorf("the README does not show %s", picture)
	}
	info, err := os.Stat(filepath.Join(root, picture))
	if err != nil {
		t.Fatal(err, ": run make screenshot")
	}
	if info.Size() >= 200_000 {
		t.Errorf("%d bytes", info.Size())
	}
}
