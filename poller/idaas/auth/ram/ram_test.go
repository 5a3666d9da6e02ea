package ram

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const planted = "planted-secret"

// nowhere leaves the chain nothing to find but what a test gives it; metadata answers for the metadata service of ECS.
func nowhere(t *testing.T, metadata http.HandlerFunc) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "ALIBABA_CLOUD_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
	if metadata == nil {
		t.Setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
		return
	}
	// The library's own transports are clones of this one, with another dialer.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // it never reuses one
		metadata(w, r)
	}))
	t.Cleanup(server.Close)
	proxy, _ := url.Parse(server.URL)
	transport := http.DefaultTransport.(*http.Transport)
	before := transport.Proxy
	transport.Proxy = http.ProxyURL(proxy)
	t.Cleanup(func() { transport.Proxy = before })
}

func request(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://eiam.test/?InstanceId=idaas_x", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// key returns the id of the access key that s signs with, or the error.
func key(t *testing.T, s *Signer) string {
	t.Helper()
	r := request(t)
	secrets, err := s.Sign(t.Context(), r, "GenerateOauthToken", "2021-12-01")
	if err != nil {
		return err.Error()
	}
	header := r.Header.Get("Authorization")
	for _, secret := range secrets[:2] {
		if secret != "" && strings.Contains(header, secret) {
			t.Errorf("%q holds a secret", header)
		}
	}
	_, rest, _ := strings.Cut(header, "Credential=")
	id, _, _ := strings.Cut(rest, ",")
	return id
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// role answers as the metadata service of a machine with a role does.
func role(id func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host != "100.100.100.200":
			http.Error(w, "not the metadata service", http.StatusBadGateway)
		case r.Method == http.MethodPut:
			fmt.Fprint(w, "metadata-token")
		case strings.HasSuffix(r.URL.Path, "/security-credentials/"):
			fmt.Fprint(w, "exporter\n")
		default:
			fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":"%s","AccessKeySecret":"%s","SecurityToken":"token-%[2]s","Expiration":"%s"}`,
				id(), planted, time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04:05Z"))
		}
	}
}

func TestSources(t *testing.T) {
	t.Run("environment", func(t *testing.T) {
		nowhere(t, nil)
		t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "of-environment")
		t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", planted)
		if got := key(t, &Signer{Timeout: time.Minute}); got != "of-environment" {
			t.Error(got)
		}
	})
	t.Run("profile", func(t *testing.T) {
		nowhere(t, nil)
		path := os.Getenv("HOME") + "/.aliyun/config.json"
		profile := `{"current":"a","profiles":[{"name":"a","mode":"AK","access_key_id":"%s","access_key_secret":"` + planted + `"}]}`
		write(t, path, fmt.Sprintf(profile, "first"))
		s := &Signer{Timeout: time.Minute}
		if got := key(t, s); got != "first" {
			t.Error(got)
		}
		write(t, path, fmt.Sprintf(profile, "second"))
		s.Forget()
		if got := key(t, s); got != "second" {
			t.Errorf("after another was written: %s", got)
		}
	})
	t.Run("role of the machine", func(t *testing.T) {
		nowhere(t, role(func() string { return "of-role" }))
		s := &Signer{Timeout: time.Minute}
		if got := key(t, s); got != "of-role" {
			t.Error(got)
		}
		r := request(t)
		if _, err := s.Sign(t.Context(), r, "a", "b"); err != nil || r.Header.Get("X-Acs-Security-Token") != "token-"+planted ||
			!strings.Contains(r.Header.Get("Authorization"), ";x-acs-security-token;") {
			t.Errorf("%v %q", err, r.Header)
		}
	})
	// The library would go on with the last of its sources, whatever the others have meanwhile.
	t.Run("one that comes later", func(t *testing.T) {
		nowhere(t, nil)
		s := &Signer{Timeout: time.Minute}
		if got := key(t, s); !strings.HasPrefix(got, "no RAM credentials: ") {
			t.Error(got)
		}
		t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "late")
		t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", planted)
		if got := key(t, s); got != "late" {
			t.Error(got)
		}
	})
}

// Whatever a source has or answers, the error says what is wrong in one line, and nothing secret.
func TestErrors(t *testing.T) {
	answer := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}
	for name, c := range map[string]struct {
		cli, profile string // files
		uri          string
		metadata     http.HandlerFunc
		want         string
	}{
		"nothing at all":           {want: "variable (ALIBABA_CLOUD_ACCESS_KEY_ID); reading aliyun cli config; open HOME/.aliyun/config.json: no such file or directory; open HOME/.alibabacloud/credentials: no such file or directory"},
		"no JSON":                  {cli: `{"access_key_secret": "` + planted + `"`, want: "unmarshal aliyun cli config from 'HOME/.aliyun/config.json' failed"},
		"no profile":               {cli: `{"current":"` + planted + `","profiles":[{"name":"b"}]}`, want: "unable to get profile"},
		"no such mode":             {cli: `{"current":"a","profiles":[{"name":"a","mode":"` + planted + `"}]}`, want: "unsupported profile mode"},
		"a command that fails":     {cli: `{"current":"a","profiles":[{"name":"a","mode":"External","process_command":"ls /` + planted + `"}]}`, want: "failed to execute external command"},
		"no INI":                   {profile: "[default]\n" + planted + "\n", want: "key-value delimiter not found"},
		"an incomplete INI":        {profile: "[default]\ntype = access_key\naccess_key_id = " + planted + "\n", want: "Failed to get value"},
		"no metadata service":      {metadata: answer(404, planted), want: "http://100.100.100.200/latest/meta-data/ram/security-credentials/ 404"},
		"a role without an answer": {metadata: answer(200, planted), want: "json.Unmarshal fail"},
		"a refused role":           {metadata: answer(200, `{"Code":"`+planted+`"}`), want: "fail to get credentials"},
		"half an answer":           {metadata: answer(200, `{"AccessKeyId":"a","AccessKeySecret":"`+planted+`","SecurityToken":"c"}`), want: "lacks something"},
		"a header in a key":        {metadata: answer(200, `{"Code":"Success","AccessKeyId":"a\r\nX: y","AccessKeySecret":"`+planted+`","SecurityToken":"c","Expiration":"2099-01-01T00:00:00Z"}`), want: "no RAM credentials have"},
	} {
		t.Run(name, func(t *testing.T) {
			nowhere(t, c.metadata)
			home := os.Getenv("HOME")
			if c.cli != "" {
				write(t, home+"/.aliyun/config.json", c.cli)
			}
			if c.profile != "" {
				write(t, home+"/.alibabacloud/credentials", c.profile)
			}
			got := strings.ReplaceAll(key(t, &Signer{Timeout: time.Minute}), home, "HOME")
			if !strings.HasPrefix(got, "no RAM credentials: ") || !strings.Contains(got, c.want) || strings.Contains(got, planted) || strings.Contains(got, "\n") {
				t.Errorf("%q, want %q in it", got, c.want)
			}
		})
	}
}

// The library prints headers, and with them security tokens, to standard output.
func TestDebug(t *testing.T) {
	nowhere(t, nil)
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "a")
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", planted)
	t.Setenv("DEBUG", "sdk,credential")
	if got := key(t, &Signer{Timeout: time.Minute}); !strings.Contains(got, "unset it") {
		t.Error(got)
	}
	t.Setenv("DEBUG", "credentials")
	if got := key(t, &Signer{Timeout: time.Minute}); got != "a" {
		t.Error(got)
	}
}

// A source that hangs holds up nobody for longer than the timeout, nor after the context's end.
func TestHang(t *testing.T) {
	ended := make(chan struct{})
	nowhere(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // until the library gives up
		if strings.HasSuffix(r.URL.Path, "/security-credentials/") && r.Header.Get("X-aliyun-ecs-metadata-token") == "" {
			close(ended)
		}
	})
	s := &Signer{Timeout: 50 * time.Millisecond}
	start := time.Now()
	if got := key(t, s); !strings.Contains(got, "it does not come back: waited 50ms") {
		t.Error(got)
	}
	s.Timeout = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Sign(ctx, request(t), "a", "b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("held up for %v", took)
	}
	<-ended
}
