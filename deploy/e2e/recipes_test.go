package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator/identities"
)

var recipes = regexp.MustCompile("(?m)^ *<!-- (recipe|says): ([\\w ]+) -->\n *```(?:sh|text)\n((?:.*\n)*?) *```$")

// recipe returns the commands of deploy/README.md that are marked with a name, or what they are said to print.
func recipe(t *testing.T, kind, name string) string {
	t.Helper()
	for _, m := range recipes.FindAllStringSubmatch(readFile(t, root+"/deploy/README.md"), -1) {
		if m[1] == kind && m[2] == name {
			return regexp.MustCompile("(?m)^   ").ReplaceAllString(m[3], "")
		}
	}
	t.Fatalf("deploy/README.md has no %s: %s", kind, name)
	return ""
}

// kitchen is where recipes are tried: a network in which the instance that they are about answers, and a folder.
type kitchen struct {
	*witnessed
	dir, hosts string
}

func newKitchen(t *testing.T) *kitchen {
	t.Helper()
	k := &kitchen{witnessed: newWitnessed(t), dir: t.TempDir(), hosts: filepath.Join(t.TempDir(), "hosts")}
	writeFile(t, k.hosts, "127.0.0.1 localhost example.aliyunidaas.com\n")
	k.trusted = filepath.Join(t.TempDir(), "root.pem")
	writeFile(t, k.trusted, k.ca.Root)
	binary, err := filepath.Abs(exporter(t))
	if err == nil {
		err = os.Mkdir(k.dir+"/bin", 0o700)
	}
	if err == nil {
		err = os.Symlink(binary, k.dir+"/bin/idaas-token-exporter")
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// open has the instance know a client.
func (k *kitchen) open(t *testing.T, client simulator.Client) {
	t.Helper()
	key := newECKey(t)
	certificate := k.ca.Issue(t, "example.aliyunidaas.com", key.Public(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	pair, err := tls.X509KeyPair([]byte(certificate+k.ca.Chain), []byte(identities.PrivateKey(t, key)))
	if err != nil {
		t.Fatal(err)
	}
	client.ID = "app_xxxxx"
	sim := simulator.New(simulator.Config{Clients: []simulator.Client{client}})
	sim.Add("billing", "orders_jwt", simulator.Token{ID: "one", Created: time.Now(), Expires: time.Now().Add(time.Hour)})
	server := httptest.NewUnstartedServer(sim)
	server.Listener.Close()
	server.Listener = k.listen(t, "127.0.0.1:443")
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(func() {
		sim.Close()
		server.Close()
	})
}

// cook types commands into a shell, as they are written, and returns what they print.
func (k *kitchen) cook(t *testing.T, name string) string {
	t.Helper()
	block := recipe(t, "recipe", name)
	args := append(k.enter(), "unshare", "--mount", "sh", "-euc", "mount --bind "+k.hosts+" /etc/hosts\ncd "+k.dir+"\n"+block)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = []string{"PATH=" + k.dir + "/bin:" + os.Getenv("PATH"), "SSL_CERT_FILE=" + k.trusted, "HOME=" + k.dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", name, err, block, out)
	}
	return string(out)
}

// taste looks for what the recipe says that is printed.
func (k *kitchen) taste(t *testing.T, name, printed string) {
	t.Helper()
	life := regexp.MustCompile(`good for \S+,`)
	if want := recipe(t, "says", name); !strings.Contains(life.ReplaceAllString(printed, ""), life.ReplaceAllString(want, "")) {
		t.Errorf("%s: there is no\n%s in\n%s", name, want, printed)
	}
}

func TestRecipePKCS7(t *testing.T) {
	k := newKitchen(t)
	k.open(t, simulator.Client{FederatedCredential: "ecs", PKCS7: k.ecs.Verify})
	if document := k.cook(t, "pkcs7 document"); !strings.Contains(document, "owner-account-id") || !strings.Contains(document, "instance-id") {
		t.Error(document)
	}
	k.taste(t, "pkcs7", k.cook(t, "pkcs7"))
}

func TestRecipePCA(t *testing.T) {
	k := newKitchen(t)
	k.cook(t, "pca key")
	k.cook(t, "pca trial")
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(readFile(t, k.dir+"/ca.pem"))) {
		t.Fatal("the trial CA has no root")
	}
	k.open(t, simulator.Client{FederatedCredential: "exporter", PCA: simulator.PCA{Roots: roots, CommonName: "idaas-token-exporter"}})
	k.taste(t, "pca", k.cook(t, "pca"))
}
