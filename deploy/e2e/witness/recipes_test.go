package witness

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator/identities"
)

var recipes = regexp.MustCompile("(?m)^ *<!-- (recipe|says|policy): ([\\w ]+) -->\n *```(?:sh|text|json)\n((?:.*\n)*?) *```$")

// recipe returns the commands of deploy/README.md that are marked with a name, or what they are said to print.
func recipe(t *testing.T, kind, name string) string {
	t.Helper()
	for _, m := range recipes.FindAllStringSubmatch(e2e.ReadFile(t, e2e.Root+"/deploy/README.md"), -1) {
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
	env        []string
}

func newKitchen(t *testing.T) *kitchen {
	t.Helper()
	k := &kitchen{witnessed: newWitnessed(t), dir: t.TempDir(), hosts: filepath.Join(t.TempDir(), "hosts")}
	e2e.WriteFile(t, k.hosts, "127.0.0.1 localhost example.aliyunidaas.com eiam-developerapi.cn-hangzhou.aliyuncs.com "+
		"eiam.cn-hangzhou.aliyuncs.com sts.aliyuncs.com\n")
	k.trusted = filepath.Join(t.TempDir(), "root.pem")
	e2e.WriteFile(t, k.trusted, k.ca.Root)
	binary, err := filepath.Abs(e2e.Exporter(t))
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
	const api = "https://eiam-developerapi.cn-hangzhou.aliyuncs.com"
	client.ID = "app_xxxxx"
	sim := simulator.New(simulator.WithRAM(simulator.Config{Clients: []simulator.Client{client}, InternetEndpoint: api}, k.ram))
	k.sim = sim
	sim.Add("billing", "orders_jwt", simulator.Token{ID: "one", Created: time.Now(), Expires: time.Now().Add(time.Hour)})
	server := httptest.NewUnstartedServer(k.securityTokens(sim))
	server.Listener.Close()
	server.Listener = k.Listen(t, "127.0.0.1:443")
	server.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		key := newECKey(t)
		certificate := k.ca.Issue(t, hello.ServerName, key.Public(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		pair, err := tls.X509KeyPair([]byte(certificate+k.ca.Chain), []byte(identities.PrivateKey(t, key)))
		return &pair, err
	}}
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
	args := append(k.Enter(), "unshare", "--mount", "sh", "-euc", "mount --bind "+k.hosts+" /etc/hosts\ncd "+k.dir+"\n"+block)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = []string{"PATH=" + k.dir + "/bin:" + os.Getenv("PATH"), "SSL_CERT_FILE=" + k.trusted, "HOME=" + k.dir}
	cmd.Env = append(cmd.Env, k.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", name, err, block, out)
	}
	return string(out)
}

// taste looks for what the recipe says that is printed.
func (k *kitchen) taste(t *testing.T, name, printed string) {
	t.Helper()
	life := regexp.MustCompile(`expires in \S+,`)
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
	if !roots.AppendCertsFromPEM([]byte(e2e.ReadFile(t, k.dir+"/ca.pem"))) {
		t.Fatal("the trial CA has no root")
	}
	k.open(t, simulator.Client{FederatedCredential: "exporter", PCA: simulator.PCA{Roots: roots, CommonName: "idaas-token-exporter"}})
	k.taste(t, "pca", k.cook(t, "pca"))
}

// securityTokens answers in place of the vendor's STS, which trusts any token of a pod, and leaves the rest to next.
func (k *kitchen) securityTokens(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host != "sts.aliyuncs.com":
			next.ServeHTTP(w, r)
		case r.PostFormValue("OIDCToken") == "the token of a pod":
			fmt.Fprintf(w, `{"Credentials":%s}`, k.session())
		default:
			http.Error(w, `{"Code":"AuthenticationFail.OIDCToken.Invalid"}`, http.StatusBadRequest)
		}
	})
}

// session is what both STS and the metadata service give.
func (k *kitchen) session() string {
	return fmt.Sprintf(`{"Code":"Success","AccessKeyId":%q,"AccessKeySecret":%q,"SecurityToken":%q,"Expiration":%q}`,
		k.ram.AccessKeyID, k.ram.AccessKeySecret, k.ram.SecurityToken, time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04:05Z"))
}

// A machine has a role, or a pod has, or there is a profile: the commands are the same.
func TestRecipeRAM(t *testing.T) {
	for _, source := range []string{"ecs_ram_role", "oidc_role_arn", "profile"} {
		t.Run(source, func(t *testing.T) {
			k := newKitchen(t)
			k.giveRAM("the-token-of-a-session")
			k.metadata(t, http.NotFoundHandler())
			switch source {
			case "ecs_ram_role":
				k.metadata(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					text := map[string]string{
						"/latest/api/token": "t", "/latest/meta-data/ram/security-credentials/": "exporter",
						"/latest/meta-data/ram/security-credentials/exporter": k.session(),
					}[r.URL.Path]
					_, _ = io.WriteString(w, text)
				}))
			case "oidc_role_arn":
				e2e.WriteFile(t, k.dir+"/token", "the token of a pod")
				k.env = []string{
					"ALIBABA_CLOUD_ROLE_ARN=acs:ram::1:role/exporter", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN=acs:ram::1:oidc-provider/ack",
					"ALIBABA_CLOUD_OIDC_TOKEN_FILE=" + k.dir + "/token",
				}
			case "profile":
				k.giveRAM("")
				if err := os.Mkdir(k.dir+"/.aliyun", 0o700); err != nil {
					t.Fatal(err)
				}
				e2e.WriteFile(t, k.dir+"/.aliyun/config.json", fmt.Sprintf(
					`{"current":"a","profiles":[{"name":"a","mode":"AK","access_key_id":%q,"access_key_secret":%q}]}`,
					k.ram.AccessKeyID, k.ram.AccessKeySecret,
				))
			}
			k.open(t, simulator.Client{})
			k.taste(t, "ram", k.cook(t, "ram"))
		})
	}
}

func TestRecipeDiscovery(t *testing.T) {
	k := newKitchen(t)
	k.env = k.giveRAM("")
	k.open(t, simulator.Client{Secret: witnessSecret})
	k.sim.SetProvider(simulator.Provider{Identifier: "crm_oauth", Type: "oauth"})
	for id, name := range map[string]string{"app_agent": "prod-agent", "app_staging": "staging", "app_test": "test-agent"} {
		k.sim.SetApplication(simulator.Application{ID: id, Name: name, Identity: "agent"})
	}
	e2e.WriteFile(t, k.dir+"/client-secret", witnessSecret)
	k.taste(t, "discovery", k.cook(t, "discovery"))
}

// The policy in the recipe allows what is asked, and nothing else.
func TestRecipePolicy(t *testing.T) {
	var policy struct {
		Version   string
		Statement []struct {
			Effect, Resource string
			Action           []string
		}
	}
	text := recipe(t, "policy", "ram")
	if err := json.Unmarshal([]byte(text), &policy); err != nil || policy.Version != "1" ||
		len(policy.Statement) != 1 || policy.Statement[0].Effect != "Allow" {
		t.Fatalf("%v: %s", err, text)
	}
	k := newKitchen(t)
	k.env = k.giveRAM("")
	k.ram.Actions = policy.Statement[0].Action
	k.open(t, simulator.Client{Secret: witnessSecret})
	e2e.WriteFile(t, k.dir+"/client-secret", witnessSecret)
	k.cook(t, "ram")
	k.cook(t, "discovery")
	want := []string{"eiam:GenerateOauthToken", "eiam:ListCredentialProviders", "eiam:ListApplications"}
	if !slices.Equal(policy.Statement[0].Action, want) {
		t.Errorf("it allows %q, want %q", policy.Statement[0].Action, want)
	}
}
