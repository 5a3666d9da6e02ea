package ram

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	planted = "planted-secret"
	config  = ".aliyun/config.json"
	shared  = ".alibabacloud/credentials"
	expires = "2099-01-01T00:00:00Z"
)

// alone leaves the chain nothing to find but what a test gives it.
func alone(t *testing.T, env, files map[string]string) (home string) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "ALIBABA_CLOUD_") {
			t.Setenv(name, "")
		}
	}
	home = t.TempDir()
	t.Setenv("HOME", home)
	for name, value := range env {
		t.Setenv("ALIBABA_CLOUD_"+name, strings.ReplaceAll(value, "HOME", home))
	}
	for name, text := range files {
		path := filepath.Join(home, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

// cloud is the metadata service, STS and what a credentials URI leads to.
type cloud struct {
	role     string         // of the machine; empty: none
	statuses map[string]int // by part of method, host and path
	body     string         // instead of a session
	requests []string       // method, host, path and what is asked for
}

// send is the Send of a Chain.
func (c *cloud) send(_ context.Context, r Request) ([]byte, error) {
	if strings.HasPrefix(r.URL.Host, "100.100.") != r.Direct {
		return nil, errors.New("a proxy, or none")
	}
	recorder := httptest.NewRecorder()
	c.ServeHTTP(recorder, r.Request)
	reason := map[int]poller.Reason{404: poller.NotFound, 403: poller.Forbidden, 503: poller.ServerError, 599: poller.Timeout}[recorder.Code]
	if reason != "" {
		return nil, &poller.Error{Reason: reason, Err: fmt.Errorf("%s: %d", r.What, recorder.Code)}
	}
	return recorder.Body.Bytes(), nil
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	line := r.Method + " " + r.URL.Host + r.URL.Path
	give := func(id string) string {
		if c.body != "" {
			return c.body
		}
		return fmt.Sprintf(`{"Code":"Success","AccessKeyId":%q,"AccessKeySecret":"s","SecurityToken":"t","Expiration":%q}`, id, expires)
	}
	_, signer, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	signer, _, _ = strings.Cut(signer, ",")
	if action := r.Header.Get("X-Acs-Action"); action != "" {
		line += " " + action + " " + r.Header.Get("X-Acs-Version")
	}
	for _, name := range strings.Fields("Action RoleArn RoleSessionName DurationSeconds OIDCToken OIDCProviderArn Policy ExternalId") {
		if value := r.FormValue(name); value != "" {
			line += " " + value
		}
	}
	c.requests = append(c.requests, line)
	v1 := ""
	if r.URL.Host == "100.100.100.200" && r.Method == http.MethodGet && r.Header.Get("X-Aliyun-Ecs-Metadata-Token") == "" {
		v1 = "v1 "
	}
	for part, status := range c.statuses {
		if strings.Contains(v1+line, part) {
			w.WriteHeader(status)
			return
		}
	}
	switch roles := "/latest/meta-data/ram/security-credentials/"; {
	case strings.HasPrefix(r.URL.Host, "sts"):
		fmt.Fprintf(w, `{"RequestId":"r","Credentials":%s}`, give("session-of-"+signer+r.FormValue("OIDCToken")))
	case r.URL.Host != "100.100.100.200":
		fmt.Fprint(w, give("of-uri"))
	case r.URL.Path == "/latest/api/token":
		fmt.Fprint(w, "metadata-token\n")
	case r.URL.Path == roles && c.role != "":
		fmt.Fprint(w, c.role+"\n")
	case r.URL.Path != roles:
		fmt.Fprint(w, give("of-"+strings.TrimPrefix(r.URL.Path, roles)))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

type vars = map[string]string

var (
	rrsa = map[string]string{"ROLE_ARN": "acs:role", "OIDC_PROVIDER_ARN": "acs:provider", "OIDC_TOKEN_FILE": "HOME/token"}
	key  = `"mode":"AK","access_key_id":"of-file","access_key_secret":"` + planted + `"`
	ini  = "; a comment\n[default]\r\ntype = access_key # another\naccess_key_id=of-ini\naccess_key_secret = '" + planted + "'\n\n" +
		"[other]\ntype=ecs_ram_role\nrole_name=of-section\n"
	arn = "[default]\ntype=ram_role_arn\naccess_key_id=ini\naccess_key_secret=" + planted + "\nrole_arn=acs:role\nrole_session_name=me\n"
)

func profiles(list ...string) string {
	return `{"current":"a","unknown":1,"profiles":[null,{` + strings.Join(list, "},{") + `}]}`
}

// Without a home directory, or with one that is none, there are no files.
func TestNoHome(t *testing.T) {
	for _, home := range []string{"", os.DevNull, "/nonexistent"} {
		alone(t, nil, nil)
		t.Setenv("HOME", home)
		cloud := &cloud{role: "r"}
		chain := Chain{Send: cloud.send}
		if found, err := chain.Find(t.Context()); err != nil || found.ID != "of-r" {
			t.Errorf("HOME=%s: %v %v", home, found.ID, err)
		}
	}
}

func TestSign(t *testing.T) {
	at := "https://eiam.test/?" + url.Values{"A": {"b c*~"}}.Encode()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	secrets := Credentials{ID: "id", Secret: planted, Token: "session"}.Sign(req, "Act", "2021-12-01")
	header := req.Header.Get("Authorization")
	if !strings.HasPrefix(header, "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=host;x-acs-accesskey-id;x-acs-action;") ||
		!strings.Contains(header, ";x-acs-security-token;") || req.Header.Get("X-Acs-Security-Token") != "session" ||
		req.URL.RawQuery != "A=b%20c%2A~" {
		t.Errorf("%s %q", req.URL, req.Header)
	}
	for _, secret := range secrets[:2] {
		if strings.Contains(header, secret) {
			t.Errorf("%q has a secret", header)
		}
	}
	if d, err := time.Parse(time.RFC3339, req.Header.Get("X-Acs-Date")); err != nil || time.Since(d).Abs() > time.Minute {
		t.Error(req.Header)
	}
}

func TestKey(t *testing.T) {
	for id, want := range map[string]string{"": "…", "k": "…", "LTAI-test": "LTA…st", "LTAI5tAbCdEfGhIjKlMnOpQr": "LTAI5t…OpQr"} {
		if got := (Credentials{ID: id}).Key(); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}
