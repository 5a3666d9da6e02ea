package release

import (
	"os"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

func TestMain(m *testing.M) { os.Exit(e2e.Main(m)) }
