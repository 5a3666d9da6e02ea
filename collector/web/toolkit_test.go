package web

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func TestCheckConfig(t *testing.T) {
	dir := t.TempDir()
	newAuthority(t, 1).issue(t, dir, "server", 2)
	const certificate = "tls_server_config: {cert_file: server.crt, key_file: server.key"
	for _, tt := range []struct{ name, content, fault string }{
		{"nothing", "", ""},
		{"certificate", certificate + "}", ""},
		{"users", "basic_auth_users: {prometheus: " + hash(t, "right") + "}", ""},
		{"no YAML", "tls_server_config: [", "yaml"},
		{"unknown key", "tls_config: {}", "tls_config"},
		{"missing certificate", "tls_server_config: {cert_file: none.crt, key_file: server.key}", "none.crt"},
		{"certificate without key", "tls_server_config: {cert_file: server.crt}", "key_file"},
		{"key as certificate", "tls_server_config: {cert_file: server.key, key_file: server.key}", "certificate"},
		{"missing client CA", certificate + ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: none.crt}", "none.crt"},
		{"client CA for nothing", certificate + ", client_ca_file: server.crt}", "client CA"},
		{"unknown client authentication", certificate + ", client_auth_type: Maybe}", "Maybe"},
		{"unknown TLS version", certificate + ", min_version: SSL3}", "SSL3"},
		{"password that is no hash", "basic_auth_users: {prometheus: hunter2-in-the-clear}", "bcrypt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(dir, "web.yml")
			write(t, file, tt.content)
			checkFault(t, CheckConfig(file), tt.fault)
		})
	}
	t.Run("no file", func(t *testing.T) {
		file := filepath.Join(dir, "none.yml")
		checkFault(t, CheckConfig(file), "no such file")
	})
	t.Run("unset", func(t *testing.T) { checkFault(t, CheckConfig(""), "") })
}

// checkFault checks for an error with the fault and no password, or for none if fault is empty.
func checkFault(t *testing.T, err error, fault string) {
	t.Helper()
	if fault == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if err == nil {
		t.Fatalf("no error, want %q", fault)
	}
	if !strings.Contains(err.Error(), fault) {
		t.Errorf("%v lacks %q", err, fault)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v shows the password", err)
	}
}

func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// login sends a request with a password, or without if it is empty.
func login(t *testing.T, method, url, user, password string) reply {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	return do(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, r)
}

func TestBasicAuth(t *testing.T) {
	c := plain()
	reloads := 0
	c.Reload = func() error { reloads++; return nil }
	c.ConfigFile = webConfig(t, "basic_auth_users: {prometheus: "+hash(t, "right")+"}")
	main := "http://" + start(t, c)[0]
	for _, tt := range []struct {
		name, method, path, user, password string
		want                               int
	}{
		{"right", "GET", "/metrics", "prometheus", "right", 200},
		{"wrong password", "GET", "/metrics", "prometheus", "wrong", 401},
		{"wrong user", "GET", "/metrics", "grafana", "right", 401},
		{"none", "GET", "/metrics", "", "", 401},
		{"page, none", "GET", "/", "", "", 401},
		{"health, none", "GET", "/-/healthy", "", "", 401},
		{"readiness, none", "GET", "/-/ready", "", "", 401},
		{"reload, none", "POST", "/-/reload", "", "", 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := login(t, tt.method, main+tt.path, tt.user, tt.password)
			if r.status != tt.want {
				t.Errorf("%d, %v, want %d", r.status, r.err, tt.want)
			}
			if asked := r.header.Get("WWW-Authenticate") != ""; asked != (tt.want == 401) {
				t.Errorf("asked for a password: %t", asked)
			}
		})
	}
	if reloads != 0 {
		t.Error("reloaded without a password")
	}

	// A changed password counts without a restart.
	write(t, c.ConfigFile, "basic_auth_users: {prometheus: "+hash(t, "new")+"}")
	for password, want := range map[string]int{"right": 401, "new": 200} {
		if r := login(t, "GET", main+"/metrics", "prometheus", password); r.status != want {
			t.Errorf("password %q after the change: %d, %v, want %d", password, r.status, r.err, want)
		}
	}
}

func TestProbesNeedNoPassword(t *testing.T) {
	c := plain()
	c.ProbeAddress = "127.0.0.1:0"
	c.ConfigFile = webConfig(t, "basic_auth_users: {prometheus: "+hash(t, "right")+"}")
	addresses := start(t, c)
	main, probes := "http://"+addresses[0], "http://"+addresses[1]
	// Only one of them asks for a password at all.
	if login(t, "GET", main+"/metrics", "", "").status != 401 {
		main, probes = probes, main
	}
	for _, tt := range []struct {
		path         string
		main, probes int
	}{
		{"/-/healthy", 401, 200},
		{"/-/ready", 401, 200},
		{"/metrics", 401, 404},
		{"/", 401, 404},
	} {
		if r := login(t, "GET", main+tt.path, "", ""); r.status != tt.main {
			t.Errorf("%s: %d, %v, want %d", tt.path, r.status, r.err, tt.main)
		}
		if r := login(t, "GET", probes+tt.path, "", ""); r.status != tt.probes {
			t.Errorf("%s on the probe listener: %d, %v, want %d", tt.path, r.status, r.err, tt.probes)
		}
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ours, other := newAuthority(t, 1), newAuthority(t, 2)
	ours.issue(t, dir, "server", 3)
	c := plain()
	c.ConfigFile = filepath.Join(dir, "web.yml")
	write(t, c.ConfigFile, "tls_server_config: {cert_file: server.crt, key_file: server.key}")
	address := start(t, c)[0]
	for _, tt := range []struct {
		name, scheme string
		client       *tls.Config
		status       int
		fault        string
	}{
		{"right authority", "https", &tls.Config{RootCAs: ours.pool()}, 200, ""},
		{"TLS 1.2", "https", &tls.Config{RootCAs: ours.pool(), MaxVersion: tls.VersionTLS12}, 200, ""},
		{
			"TLS 1.1", "https", &tls.Config{RootCAs: ours.pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, 0,
			"protocol version",
		},
		{"other authority", "https", &tls.Config{RootCAs: other.pool()}, 0, "unknown authority"},
		{"other name", "https", &tls.Config{RootCAs: ours.pool(), ServerName: "elsewhere.example"}, 0, "elsewhere.example"},
		{"plain HTTP", "http", nil, 400, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := get(&http.Transport{TLSClientConfig: tt.client}, tt.scheme+"://"+address+"/metrics")
			checkReply(t, r, tt.status, tt.fault)
			if tt.status != 200 && strings.Contains(r.body, "idaas_test") {
				t.Error("shows the metrics")
			}
		})
	}
}

// checkReply checks the status, or the error if fault is not empty.
func checkReply(t *testing.T, r reply, status int, fault string) {
	t.Helper()
	if r.status != status || (r.err == nil) != (fault == "") {
		t.Fatalf("%d, %v, want %d, %q", r.status, r.err, status, fault)
	}
	if r.err != nil && !strings.Contains(r.err.Error(), fault) {
		t.Errorf("%v, want %q", r.err, fault)
	}
}

func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	ours, other := newAuthority(t, 1), newAuthority(t, 2)
	ours.issue(t, dir, "server", 3)
	write(t, filepath.Join(dir, "ca.crt"), ours.pem())
	c := plain()
	c.ConfigFile = filepath.Join(dir, "web.yml")
	write(t, c.ConfigFile, "tls_server_config: {cert_file: server.crt, key_file: server.key, "+
		"client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt}")
	address := start(t, c)[0]
	for _, tt := range []struct {
		name        string
		certificate tls.Certificate
		status      int
		fault       string
	}{
		{"right", ours.issue(t, dir, "prometheus", 4), 200, ""},
		{"of another authority", other.issue(t, dir, "stranger", 5), 0, "remote error: tls: "},
		{"none", tls.Certificate{}, 0, "remote error: tls: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Certificates would not be sent to a server that does not ask for their authority; and TLS 1.3 tells a refusal
			// only after the handshake, when writing may fail first.
			client := &tls.Config{RootCAs: ours.pool(), MaxVersion: tls.VersionTLS12}
			client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tt.certificate, nil }
			checkReply(t, get(&http.Transport{TLSClientConfig: client}, "https://"+address+"/metrics"), tt.status, tt.fault)
		})
	}
}

func TestCertificateRotation(t *testing.T) {
	dir := t.TempDir()
	authority := newAuthority(t, 1)
	authority.issue(t, dir, "server", 2)
	c := plain()
	c.ConfigFile = filepath.Join(dir, "web.yml")
	write(t, c.ConfigFile, "tls_server_config: {cert_file: server.crt, key_file: server.key}")
	address := start(t, c)[0]
	// served returns the serial number that a new connection sees.
	served := func() (int64, error) {
		var seen *x509.Certificate
		client := &tls.Config{RootCAs: authority.pool(), VerifyConnection: func(s tls.ConnectionState) error {
			seen = s.PeerCertificates[0]
			return nil
		}}
		if r := get(&http.Transport{TLSClientConfig: client}, "https://"+address+"/-/healthy"); r.err != nil {
			return 0, r.err
		}
		return seen.SerialNumber.Int64(), nil
	}
	check := func(want int64) {
		t.Helper()
		if got, err := served(); got != want {
			t.Errorf("certificate %d, %v, want %d", got, err, want)
		}
	}
	check(2)
	authority.issue(t, dir, "server", 3)
	check(3)
	// A half written pair does not end the server.
	write(t, filepath.Join(dir, "server.crt"), "-----BEGIN CERT")
	if got, err := served(); err == nil {
		t.Errorf("certificate %d out of a broken file", got)
	}
	authority.issue(t, dir, "server", 4)
	check(4)
}
