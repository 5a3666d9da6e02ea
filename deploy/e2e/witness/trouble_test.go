package witness

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator/identities"
)

// TestIdentityTrouble: whatever is wrong with an identity is one line of check, with advice, and one of the log, and has the
// reason access_token; never is a secret in either.
func TestIdentityTrouble(t *testing.T) {
	key, other := newECKey(t), newECKey(t)
	secrets := []string{identities.PrivateKey(t, key), identities.PrivateKey(t, other)}
	missing := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotFound) })
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	type files struct{ key, certificate, chain string }
	pca := func(secret string, lasts time.Duration) func(*identities.CA) files {
		return func(ca *identities.CA) files { return files{secret, issue(t, ca, key, lasts), ca.Chain} }
	}
	unread := func(ca *identities.CA) files { return files{secrets[0], "", ca.Chain} }
	role, nowhere := []string{}, []string{"ALIBABA_CLOUD_CONFIG_FILE=/nowhere/config.json"}
	ours := ramKey("LTAI-witness", "the-secret-of-an-access-key")
	for name, c := range map[string]struct {
		metadata http.Handler
		absent   bool
		pca      func(ca *identities.CA) files // else it is an ECS instance
		ram      []string                      // else
		skew     time.Duration
		want     string
	}{
		"metadata service: 404":                  {metadata: missing, want: "PUT api/token: 404 Not Found"},
		"metadata service hangs":                 {metadata: hang, want: "no complete response within "},
		"metadata service: absent":               {absent: true, want: "connection refused"},
		"document, clock five minutes fast":      {skew: -5 * time.Minute, want: "signed in the future"},
		"RAM, metadata service: 404":             {ram: role, metadata: missing, want: "GET meta-data/ram/security-credentials/: 404 Not Found"},
		"RAM, metadata service hangs":            {ram: role, metadata: hang, want: "PUT api/token: no complete response within "},
		"RAM, metadata service: absent":          {ram: role, absent: true, want: "connect: connection refused"},
		"RAM, unreadable file":                   {ram: nowhere, absent: true, want: "open /nowhere/config.json: no such file or directory"},
		"RAM, wrong key":                         {ram: ramKey("LTAI-other", "the-secret-of-an-access-key"), want: "InvalidAccessKeyId.NotFound"},
		"RAM, wrong secret":                      {ram: ramKey("LTAI-witness", "the-secret-of-another"), want: "SignatureDoesNotMatch"},
		"RAM, clock an hour fast":                {ram: ours, skew: -time.Hour, want: "InvalidTimeStamp.Expired"},
		"wrong key":                              {pca: pca(secrets[1], time.Hour), want: "is of another key than the private key"},
		"no key":                                 {pca: pca("nonsense", time.Hour), want: "the private key: no PEM block"},
		"expired certificate":                    {pca: pca(secrets[0], -time.Minute), want: "expired at"},
		"unreadable certificate":                 {pca: unread, want: "certificate: no such file"},
		"certificate, clock five minutes fast":   {pca: pca(secrets[0], time.Hour), skew: -5 * time.Minute, want: "used before issued"},
		"certificate, clock five minutes behind": {pca: pca(secrets[0], time.Hour), skew: 5 * time.Minute, want: "expired_token"},
	} {
		t.Run(name, func(t *testing.T) {
			w, dir := newWitnessed(t), t.TempDir()
			w.giveRAM("")
			w.serve(t, simulator.Client{FederatedCredential: "me", PKCS7: w.ecs.Verify, PCA: simulator.PCA{Roots: w.ca.Roots}}, c.skew)
			env := []string{
				"IDAAS_DOMAIN=" + w.server.URL, "IDAAS_CA_FILE=" + w.trusted,
				"IDAAS_CLIENT_ID=" + witnessClient, "IDAAS_TARGETS=" + witnessConsumer + ":" + witnessProvider,
				"IDAAS_AUTH_METHOD=pkcs7", "IDAAS_FEDERATED_CREDENTIAL_NAME=me", "IDAAS_RATE_LIMIT=1000", "IDAAS_REQUEST_TIMEOUT=1s",
			}
			if c.ram != nil {
				env = append(append(env, "IDAAS_AUTH_METHOD=ram", "IDAAS_MANAGEMENT_ENDPOINT="+w.server.URL), c.ram...)
			}
			if c.metadata != nil {
				w.metadata(t, c.metadata)
			}
			if c.absent {
				w.service.Close()
			}
			if c.pca != nil {
				f := c.pca(w.ca)
				env = append(env, "IDAAS_AUTH_METHOD=pca")
				for name, text := range map[string]string{"PRIVATE_KEY": f.key, "CERTIFICATE": f.certificate, "CERTIFICATE_CHAIN": f.chain} {
					file := filepath.Join(dir, strings.ToLower(name))
					env = append(env, "IDAAS_"+name+"_FILE="+file)
					if text != "" {
						e2e.WriteFile(t, file, text)
					}
				}
			}
			var out, log strings.Builder
			for _, command := range []string{"check", "once"} {
				args := append(w.Enter(), e2e.Exporter(t), command)
				cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
				cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &log
				if err := cmd.Run(); err == nil {
					t.Errorf("%s finds nothing", command)
				}
			}
			told := func(text, mark string) (n int) {
				for line := range strings.Lines(text) {
					if strings.Contains(line, mark) && strings.Contains(line, c.want) {
						n++
					}
				}
				return n
			}
			advice := strings.Count(out.String(), "\n          → ")
			if n := told(out.String(), "failed    access token"); n != 1 || advice == 0 {
				t.Errorf("%d lines of check, want one, and advice:\n%s", n, out.String())
			}
			if n := told(log.String(), "reason=access_token"); n != 1 || strings.Count(log.String(), "WRN") != 1 {
				t.Errorf("%d lines of the log, want one:\n%s", n, log.String())
			}
			series := `idaas_poll_error{consumer="` + witnessConsumer + `",credential_provider="` + witnessProvider + `",reason="access_token"} 1`
			if !strings.Contains(out.String(), series) {
				t.Errorf("there is no %s", series)
			}
			for _, secret := range append(secrets, "session-of", "client_assertion", "the-secret-of") {
				for line := range strings.Lines(secret) {
					if line = strings.TrimSpace(line); !strings.HasPrefix(line, "---") && strings.Contains(out.String()+log.String(), line) {
						t.Errorf("%q is shown", line)
					}
				}
			}
		})
	}
}

func ramKey(id, secret string) []string {
	return []string{"ALIBABA_CLOUD_ACCESS_KEY_ID=" + id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET=" + secret}
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns a certificate that is good for so long.
func issue(t *testing.T, ca *identities.CA, key crypto.Signer, life time.Duration) string {
	t.Helper()
	return ca.Issue(t, "exporter", key.Public(), time.Now().Add(-time.Hour), time.Now().Add(life))
}
