package poller

import "testing"

func TestParseEndpoint(t *testing.T) {
	for _, c := range []struct {
		text     string
		withPath bool
		want     string // empty: refused
	}{
		{"eiam.cn-hangzhou.aliyuncs.com", false, "https://eiam.cn-hangzhou.aliyuncs.com"},
		{"host:8443//", false, "https://host:8443"},
		{"HTTPS://host", false, "https://host"},
		{"http://localhost:1", false, "http://localhost:1"},
		{"http://LOCALHOST", false, "http://LOCALHOST"},
		{"http://127.9.9.9:1/", false, "http://127.9.9.9:1"},
		{"http://[::1]:1", false, "http://[::1]:1"},
		{"http://host", false, ""},
		{"http://128.0.0.1", false, ""},
		{"http://127.0.0.1.example.com", false, ""},
		{"http://localhost.example.com", false, ""},
		{"http://localhost@example.com", false, ""},
		{"https://host/v2", false, ""},
		{"https://user@host", false, ""},
		{"https://host?", false, ""},
		{"https://host?a=b", false, ""},
		{"https://host#", false, ""},
		{"https://host#a", false, ""},
		{"ftp://host", false, ""},
		{"https://", false, ""},
		{"https://:443", false, ""},
		{"https://host:", false, ""},
		{"https://host:65536", false, ""},
		{"https://host:port", false, ""},
		{"https://ho st", false, ""},
		{"mailto:someone", false, ""},
		{"host/api/v2/iauths_system/oauth2/token/", true, "https://host/api/v2/iauths_system/oauth2/token"},
		{"https://host/a%20b", true, "https://host/a%20b"},
		{"http://127.0.0.1:8080/token", true, "http://127.0.0.1:8080/token"},
		{"https://host/", true, ""},
		{"http://host/token", true, ""},
		{"https://host/token?x", true, ""},
	} {
		got, err := ParseEndpoint(c.text, c.withPath)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}
