package auth

import "testing"

func TestManagementEndpoint(t *testing.T) {
	for developer, want := range map[string]string{
		"https://eiam-developerapi.cn-hangzhou.aliyuncs.com":      "https://eiam.cn-hangzhou.aliyuncs.com",
		"https://eiam-developerapi-sg.vpc-proxy.aliyuncs.com":     "https://eiam-sg.vpc-proxy.aliyuncs.com",
		"https://eiam-developerapi.cn-hangzhou.aliyuncs.com:8443": "",
		"https://api.example.com":                                 "",
		"http://127.0.0.1:8080":                                   "",
		"":                                                        "",
	} {
		if got := ManagementEndpoint(developer); got != want {
			t.Errorf("%s: %q, want %q", developer, got, want)
		}
	}
}

func TestMethods(t *testing.T) {
	names := map[string]bool{}
	for _, m := range Methods {
		if names[m.Name] || len(m.Needs) == 0 || m.Credential == "" || (m.complete == nil) != (m.Name == RAM) {
			t.Errorf("%+v", m)
		}
		names[m.Name] = true
		if got := MethodOf(m.Name); got.Credential != m.Credential {
			t.Errorf("%s: %+v", m.Name, got)
		}
	}
	if m := MethodOf("none"); m.Name != "" {
		t.Errorf("%+v", m)
	}
}
