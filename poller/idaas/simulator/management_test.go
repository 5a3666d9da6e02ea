package simulator

import (
	"crypto/sha256"
	"encoding/json"
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

// signed sends a signed call, which change can alter.
func (f *fixture) signed(action, query string, at time.Time, nonce string, change func(*http.Request)) response {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.url+"/?"+query, http.NoBody)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Host = r.URL.Host
	sum := fmt.Sprintf("%x", sha256.Sum256(nil))
	for name, value := range map[string]string{
		"action": action, "content-sha256": sum, "date": at.UTC().Format(time.RFC3339), "signature-nonce": nonce, "version": "2021-12-01",
	} {
		r.Header.Set("X-Acs-"+name, value)
	}
	names := []string{"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"}
	r.Header.Set(
		"Authorization",
		"ACS3-HMAC-SHA256 Credential=key,SignedHeaders="+strings.Join(names, ";")+",Signature="+sign(r, names, sum, "secret"),
	)
	if change != nil {
		change(r)
	}
	return f.do(r)
}

// A request that is changed after signing, too old or repeated is refused.
func TestSignedCalls(t *testing.T) {
	f := start(t, WithRAM(Config{}, RAMUser{AccessKeyID: "key", AccessKeySecret: "secret"}))
	f.SetProvider(Provider{Identifier: "p~1 +*"})
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
		answer := f.signed("ListCredentialProviders", tt.query, epoch.Add(-tt.age), nonce, tt.change)
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

// Lists have the items that their parameters select, page by page, or a part of them with a fault.
func TestListings(t *testing.T) {
	f := start(t, WithRAM(Config{}, RAMUser{AccessKeyID: "key", AccessKeySecret: "secret"}))
	for i, a := range []Application{
		{ID: "app_a", Name: "A"},
		{ID: "app_b", Name: "B", Identity: "agent"},
		{ID: "app_c", Disabled: true},
		{ID: "app_d", NoM2M: true},
		{ID: "app_e"},
	} {
		a.Created = epoch.Add(-time.Duration(i) * time.Second) // the last one is the oldest
		f.SetApplication(a)
	}
	for _, p := range []string{"p1", "p2", "p3"} {
		f.SetProvider(Provider{Identifier: p})
	}
	for i, tt := range []struct {
		action, query string
		kind          FaultKind
		want          string // of ids, and the total; or a code
	}{
		{"ListApplications", "", Slow, "app_e app_d app_c app_a 4"},
		{"ListApplications", "&ApplicationIdentityType=all", Slow, "app_e app_d app_c app_b app_a 5"},
		{"ListApplications", "&ApplicationIdentityType=agent", Slow, "app_b 1"},
		{"ListApplications", "&ApplicationIdentityType=all&Status=enabled&M2MClientStatus=enabled", Slow, "app_e app_b app_a 3"},
		{"ListApplications", "&PageSize=3", Slow, "app_e app_d app_c 4"},
		{"ListApplications", "&PageSize=3&PageNumber=2", Slow, "app_a 4"},
		{"ListApplications", "&PageSize=3&PageNumber=9", Slow, "4"},
		{"ListApplications", "&PageSize=101", Slow, "InvalidParameter.PageSize"},
		{"ListApplications", "&PageNumber=0", Slow, "InvalidParameter.PageNumber"},
		{"ListApplications", "", EmptyList, "0"},
		{"ListApplications", "", HalfList, "app_e app_d 2"},
		{"ListApplications", "&PageSize=1&PageNumber=3", HalfList, "2"},
		{"ListCredentialProviders", "", Slow, "p1 p2 p3 3"},
		{"ListCredentialProviders", "&MaxResults=2", Slow, "p1 p2 3"},
		{"ListCredentialProviders", "", EmptyList, "0"},
		{"ListCredentialProviders", "", HalfList, "p1 1"},
	} {
		remove := f.Inject(Fault{Kind: tt.kind})
		r := f.signed(tt.action, "InstanceId=idaas_simulator"+tt.query, epoch, fmt.Sprint("listing", i), nil)
		remove()
		var body struct {
			Code                string
			CredentialProviders []struct{ CredentialProviderIdentifier string }
			Applications        []struct{ ApplicationID string }
			TotalCount          *int
		}
		if err := json.Unmarshal([]byte(r.body), &body); err != nil {
			t.Fatal(err)
		}
		got := body.Code
		for _, p := range body.CredentialProviders {
			got += p.CredentialProviderIdentifier + " "
		}
		for _, a := range body.Applications {
			got += a.ApplicationID + " "
		}
		if body.TotalCount != nil {
			got += fmt.Sprint(*body.TotalCount)
		}
		if got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.action, tt.query, got, tt.want)
		}
	}
}
