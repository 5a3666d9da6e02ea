package witness

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/credentials-go/credentials/providers"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth/ram"
)

// everywhere answers as the metadata service, STS and a credentials URI do. The access key id has what was requested.
func everywhere(role string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		const roles = "/latest/meta-data/ram/security-credentials/"
		id := r.Host + r.URL.Path
		switch {
		case r.URL.Path == "/latest/api/token":
			_, _ = io.WriteString(w, "token")
			return
		case r.URL.Path == roles && role == "":
			http.NotFound(w, r)
			return
		case r.URL.Path == roles:
			_, _ = io.WriteString(w, role)
			return
		case strings.HasPrefix(r.Host, "sts"):
			_, signer, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
			signer, _, _ = strings.Cut(signer, ",")
			action := r.Header.Get("X-Acs-Action")
			if session := r.FormValue("RoleSessionName"); !strings.HasPrefix(session, "credentials-go-") && session != "idaas-token-exporter" {
				id += session // not a default
			}
			id += signer + r.FormValue("AccessKeyId") + action + r.FormValue("Action")
			for _, name := range []string{"RoleArn", "DurationSeconds", "Policy", "ExternalId", "OIDCProviderArn", "OIDCToken"} {
				id += "|" + r.FormValue(name)
			}
			id = strings.ReplaceAll(id, " ", "_")
		}
		session := fmt.Sprintf(`{"Code":"Success","AccessKeyId":%q,"AccessKeySecret":"s","SecurityToken":"t","Expiration":%q}`,
			id, time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04:05Z"))
		if strings.HasPrefix(r.Host, "sts") {
			session = `{"Credentials":` + session + `}`
		}
		_, _ = io.WriteString(w, session)
	}
}

// proxy leads every request to h, those by TLS too.
func proxy(t *testing.T, h http.Handler) *http.Transport {
	t.Helper()
	secure := httptest.NewTLSServer(h)
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		if r.Method != http.MethodConnect {
			h.ServeHTTP(w, r)
			return
		}
		there, err := net.Dial("tcp", secure.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer there.Close()
		w.WriteHeader(http.StatusOK)
		here, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer here.Close()
		go func() { _, _ = io.Copy(there, buffered) }()
		_, _ = io.Copy(here, there)
	}))
	t.Cleanup(plain.Close)
	address, err := url.Parse(plain.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.DisableKeepAlives = http.ProxyURL(address), true
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the certificate is not under test
	return transport
}

// TestChain: the exporter finds the credentials that the vendor's library finds, and refuses what that passes over.
func TestChain(t *testing.T) {
	const (
		config, ini = ".aliyun/config.json", ".alibabacloud/credentials"
		key         = `"mode":"AK","access_key_id":"file","access_key_secret":"s"`
	)
	type vars = map[string]string
	profile := func(texts ...string) vars {
		return vars{config: `{"current":"a","profiles":[{"name":"a",` + strings.Join(texts, "},{") + `}]}`}
	}
	rrsa := vars{"ROLE_ARN": "acs:role", "OIDC_PROVIDER_ARN": "acs:provider", "OIDC_TOKEN_FILE": "HOME/token"}
	with := func(more, these vars) vars {
		all := vars{}
		for _, m := range []vars{more, these} {
			maps.Copy(all, m)
		}
		return all
	}
	for name, c := range map[string]struct {
		env, files vars
		role       string
		stricter   bool // the exporter has an error
	}{
		"environment":            {env: vars{"ACCESS_KEY_ID": "env", "ACCESS_KEY_SECRET": "s"}, files: profile(key), role: "r"},
		"session in environment": {env: vars{"ACCESS_KEY_ID": "env", "ACCESS_KEY_SECRET": "s", "SECURITY_TOKEN": "t"}, role: "r"},
		"RRSA":                   {env: rrsa, files: with(profile(key), vars{"token": "pod"}), role: "r"},
		"RRSA, VPC": {
			env: with(rrsa, vars{"STS_REGION": "cn-x", "VPC_ENDPOINT_ENABLED": "true"}), files: vars{"token": "pod"},
		},
		"RRSA, VPC without region": {env: with(rrsa, vars{"VPC_ENDPOINT_ENABLED": "true"}), files: vars{"token": "pod"}},
		"RRSA, token":              {env: with(rrsa, vars{"OIDC_TOKEN": "direct"}), files: vars{"token": "pod"}},
		"AK": {
			files: with(profile(key), vars{ini: "[default]\ntype=access_key\naccess_key_id=i\naccess_key_secret=s\n"}), role: "r",
		},
		"StsToken": {files: profile(`"mode":"StsToken","access_key_id":"file","access_key_secret":"s","sts_token":"t"`)},
		"RamRoleArn": {
			files: profile(`"mode":"RamRoleArn","access_key_id":"k","access_key_secret":"s","ram_role_arn":"acs:r",` +
				`"ram_session_name":"me","expired_seconds":900,"sts_region":"cn-x","policy":"{ }","external_id":"e"`),
		},
		"RamRoleArn, defaults": {
			env:   vars{"ROLE_ARN": "acs:env", "ROLE_SESSION_NAME": "me", "STS_REGION": "cn-x"},
			files: profile(`"mode":"RamRoleArn","access_key_id":"k","access_key_secret":"s","enable_vpc":true`),
		},
		"EcsRamRole":          {files: profile(`"mode":"EcsRamRole","ram_role_name":"n"`), role: "r"},
		"EcsRamRole, no name": {files: profile(`"mode":"EcsRamRole"`), role: "r"},
		"OIDC": {
			files: with(profile(`"mode":"OIDC","oidc_provider_arn":"p","oidc_token_file":"TOKEN","ram_role_arn":"acs:r",`+
				`"ram_session_name":"me","expired_seconds":1000`), vars{"token": "pod"}),
		},
		"ChainableRamRoleArn": {
			files: profile(`"mode":"ChainableRamRoleArn","source_profile":"b","ram_role_arn":"acs:a"`,
				`"name":"b","mode":"ChainableRamRoleArn","source_profile":"c","ram_role_arn":"acs:b"`, `"name":"c",`+key),
		},
		"ALIBABA_CLOUD_PROFILE": {env: vars{"PROFILE": "b"}, files: profile(`"mode":"AK"`, `"name":"b",`+key)},
		"profiles disabled":     {env: vars{"CLI_PROFILE_DISABLED": "TRUE"}, files: profile(key), role: "r"},
		"INI": {
			files: vars{ini: "; c\n[default]\ntype = access_key # c\naccess_key_id = \"ini\"\naccess_key_secret = `s`\n[x]\ntype=none\n"},
			role:  "r",
		},
		"INI, RamRoleArn": {
			files: vars{ini: "[default]\ntype=ram_role_arn\naccess_key_id=ini\naccess_key_secret=s\n" +
				"role_arn=acs:r\nrole_session_name=me\npolicy={ }\n"},
		},
		"INI, machine": {files: vars{ini: "[default]\ntype=ecs_ram_role\nrole_name=n\n"}, role: "r"},
		"INI, named": {
			env:   vars{"PROFILE": "x"},
			files: with(profile(key), vars{ini: "[x]\ntype=access_key\naccess_key_id=ini\naccess_key_secret=s\n"}), role: "r",
		},
		"machine":                 {role: "r"},
		"machine, named":          {env: vars{"ECS_METADATA": "n"}, role: "r"},
		"machine before URI":      {env: vars{"CREDENTIALS_URI": "http://uri.test/x"}, role: "r"},
		"URI":                     {env: vars{"CREDENTIALS_URI": "http://uri.test/x"}},
		"URI, machine disabled":   {env: vars{"CREDENTIALS_URI": "http://uri.test/x", "ECS_METADATA_DISABLED": "true"}, role: "r"},
		"half of the environment": {env: vars{"ACCESS_KEY_ID": "env"}, role: "r", stricter: true},
		"broken config.json":      {files: vars{config: "{"}, role: "r", stricter: true},
		"missing profile":         {env: vars{"PROFILE": "b"}, files: profile(key), role: "r", stricter: true},
		"no token of RRSA":        {env: rrsa, role: "r", stricter: true},
		"CloudSSO":                {files: profile(`"mode":"CloudSSO"`), role: "r", stricter: true},
		"broken INI":              {files: vars{ini: "x"}, role: "r", stricter: true},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			for _, pair := range os.Environ() {
				if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "ALIBABA_CLOUD_") {
					t.Setenv(name, "")
				}
			}
			t.Setenv("HOME", home)
			for name, value := range c.env {
				t.Setenv("ALIBABA_CLOUD_"+name, strings.ReplaceAll(value, "HOME", home))
			}
			for path, text := range c.files {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(home, path)), 0o700); err != nil {
					t.Fatal(err)
				}
				text = strings.ReplaceAll(text, "TOKEN", home+"/token")
				if err := os.WriteFile(filepath.Join(home, path), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			transport := proxy(t, everywhere(c.role))
			before := http.DefaultTransport
			http.DefaultTransport = transport // which the library clones
			t.Cleanup(func() { http.DefaultTransport = before })
			want, err := providers.NewDefaultCredentialsProvider().GetCredentials()
			if err != nil {
				t.Fatal("the vendor's library:", err)
			}
			chain := ram.Chain{Send: func(_ context.Context, r ram.Request) ([]byte, error) {
				resp, err := transport.RoundTrip(r.Request)
				if err != nil {
					return nil, &poller.Error{Reason: poller.Connection, Err: err}
				}
				defer resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					return nil, &poller.Error{Reason: poller.NotFound, Err: fmt.Errorf("%s: %s", r.What, resp.Status)}
				}
				return io.ReadAll(resp.Body)
			}}
			got, err := chain.Find(t.Context())
			switch {
			case c.stricter:
				if err == nil {
					t.Errorf("%q; the library goes on to %q", got.ID, want.AccessKeyId)
				}
			case err != nil || got.ID != want.AccessKeyId || got.Secret != want.AccessKeySecret || got.Token != want.SecurityToken:
				t.Errorf("%q (%v), the library has %q of %s", got.ID, err, want.AccessKeyId, want.ProviderName)
			}
		})
	}
}
