package simulator

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The example of the vendor's document on signatures of version 3.
func TestSignatureOfTheDocument(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		"https://ecs.cn-shanghai.aliyuncs.com/?RegionId=cn-shanghai&ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Acs-Action", "RunInstances")
	r.Header.Set("X-Acs-Content-Sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	r.Header.Set("X-Acs-Date", "2023-10-26T10:22:32Z")
	r.Header.Set("X-Acs-Signature-Nonce", "3156853299f313e23d1673dc12e1703d")
	r.Header.Set("X-Acs-Version", "2014-05-26")
	names := []string{"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"}
	const want = "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
	if got := sign(r, names, r.Header.Get("X-Acs-Content-Sha256"), "YourAccessKeySecret"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What is changed after it was signed, too old or used before is refused.
func TestSignedCalls(t *testing.T) {
	f := start(t, WithRAM(Config{}, RAMUser{AccessKeyID: "key", AccessKeySecret: "secret"}))
	f.SetProvider(Provider{Identifier: "p~1 +*"})
	// call lists providers, signed, and lets change what is sent.
	call := func(query string, at time.Time, nonce string, change func(*http.Request)) response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/?"+query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = r.URL.Host
		sum := fmt.Sprintf("%x", sha256.Sum256(nil))
		for name, value := range map[string]string{
			"action": "ListCredentialProviders", "content-sha256": sum, "date": at.UTC().Format(time.RFC3339), "signature-nonce": nonce, "version": "2021-12-01",
		} {
			r.Header.Set("X-Acs-"+name, value)
		}
		names := []string{"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"}
		r.Header.Set("Authorization", "ACS3-HMAC-SHA256 Credential=key,SignedHeaders="+strings.Join(names, ";")+",Signature="+sign(r, names, sum, "secret"))
		if change != nil {
			change(r)
		}
		return f.do(r)
	}
	const query = "InstanceId=idaas_simulator&MaxResults=10&NextToken="
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for i, tt := range []struct {
		query  string
		age    time.Duration
		nonce  string
		change func(*http.Request)
		want   string
	}{
		{query: query, want: `"CredentialProviderIdentifier":"p~1 +*"`},
		{query: query, age: 14 * time.Minute, want: "200 "},
		{query: query, age: -14 * time.Minute, want: "200 "},
		{query: query, age: 16 * time.Minute, want: "400 InvalidTimeStamp.Expired"},
		{query: query, age: -16 * time.Minute, want: "400 InvalidTimeStamp.Expired"},
		{query: query, nonce: "once", want: "200 "},
		{query: query, nonce: "once", want: "400 SignatureNonceUsed"},
		{query: query, change: set("X-Acs-Action", "GenerateOauthToken"), want: "400 SignatureDoesNotMatch"},
		{query: query, change: set("X-Acs-Security-Token", "t"), want: "400 IncompleteSignature"},
		{query: query, change: set("Authorization", "Bearer x"), want: "400 IncompleteSignature"},
		{query: query, change: func(r *http.Request) { r.URL.RawQuery += "&Statuses.1=enabled" }, want: "400 SignatureDoesNotMatch"},
		{query: "MaxResults=10", want: "400 MissingInstanceId"},
		{query: "InstanceId=other", want: "404 EntityNotFound.Instance"},
		{query: "InstanceId=idaas_simulator&MaxResults=101", want: "400 InvalidParameter.MaxResults"},
		{query: "InstanceId=idaas_simulator&NextToken=%21", want: "400 InvalidParameter.NextToken"},
		{query: "InstanceId=idaas_simulator&CredentialProviderTypes.1=oauth", want: `"TotalCount":0`},
	} {
		nonce := tt.nonce
		if nonce == "" {
			nonce = fmt.Sprint(i)
		}
		answer := call(tt.query, epoch.Add(-tt.age), nonce, tt.change)
		got := fmt.Sprintf("%d %s", answer.status, answer.body)
		if status, code, ok := strings.Cut(tt.want, " "); ok && code != "" && !strings.HasPrefix(tt.want, `"`) {
			if !strings.HasPrefix(got, status) || !strings.Contains(got, `"Code":"`+code) {
				t.Errorf("%d: %s, want %s", i, got, tt.want)
			}
		} else if !strings.Contains(got, tt.want) {
			t.Errorf("%d: %s, want %s", i, got, tt.want)
		}
	}
}
