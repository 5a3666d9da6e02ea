package state

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// whole returns a file with that body.
func whole(version byte, body []byte) []byte {
	sum := sha256.New()
	sum.Write(body)
	return append(header(version, sum), body...)
}

// All earlier versions are read, and files with members and entries of a later exporter.
func TestOtherVersions(t *testing.T) {
	full := some()
	released, err := os.ReadFile("testdata/version2") // of the release before versions were migrated
	if err != nil {
		t.Fatal(err)
	}
	zipped := func(lines ...string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		fmt.Fprintln(z, `"https://x.aliyunidaas.com  "`, strings.Join(lines, "\n"))
		must(t, z.Close())
		return b.Bytes()
	}
	const census = `"Revoked":1,"Expired":2,"NeverExpiring":3,"Expirations":[4,5],"Reported":-1,"ReadAt":"2026-03-01T12:00:00.123Z","Took":7`
	const failure = `"Reason":"timeout","Text":"late","At":"2026-03-01T12:00:00.123Z"`
	known := &poller.Census{Revoked: 1, Expired: 2, NeverExpiring: 3, Expirations: []int64{4, 9}, Reported: -1, ReadAt: epoch, Took: 7}
	late := &poller.Failure{Reason: poller.Timeout, Text: "late", At: epoch, Since: epoch}
	read, failed := reading("read", known, nil), reading("failed", nil, late)
	for name, c := range map[string]struct {
		text []byte
		want []*poller.Reading
	}{
		"version 2, as released": {released, full.Readings},
		"version 1, without the time since when": {whole('1', zipped(`{"Consumer":"read","Provider":"p","Census":{`+census+`}}`,
			`{"Consumer":"failed","Provider":"p","Failure":{`+failure+`}}`)), []*poller.Reading{read, failed}},
		"members and entries of a later exporter": {whole('2', zipped(`{"Found":{"providers":["a"]}}`,
			`{"Consumer":"read","Provider":"p","Census":{`+census+`,"Future":{"days":[1,[2]]}},"Left":true}`,
			`{"Consumer":"none","Provider":"p","Future":"x"}`)), []*poller.Reading{read}},
	} {
		f := File{Path: filepath.Join(t.TempDir(), "state"), Instance: "https://x.aliyunidaas.com  "}
		must(t, os.WriteFile(f.Path, c.text, 0o600))
		got, err := f.Load()
		if err != nil || len(got.Readings) != len(c.want) {
			t.Errorf("%s: %d readings, %v", name, len(got.Readings), err)
			continue
		}
		for _, want := range c.want {
			r := got.Readings[want.Target.Key()]
			if r == nil || !reflect.DeepEqual(r.Census, want.Census) || !reflect.DeepEqual(r.Failure, want.Failure) {
				t.Errorf("%s: %s is %+v", name, want.Target.Consumer, r)
			}
		}
	}
}

// A state belongs to an IDaaS instance, also if more or fewer of its settings are configured.
func TestInstances(t *testing.T) {
	const d, e, i = "https://x.aliyunidaas.com", "https://eiam-developerapi.cn-hangzhou.aliyuncs.com", "idaas_x"
	join := func(domain, endpoint, id string) string { return domain + " " + endpoint + " " + id }
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"the same":                     {join(d, "", ""), join(d, "", ""), true},
		"endpoint added":               {join(d, "", ""), join(d, e, ""), true},
		"id added":                     {join(d, "", ""), join(d, "", i), true},
		"endpoint and id added":        {join(d, "", ""), join(d, e, i), true},
		"domain added":                 {join("", e, i), join(d, e, i), true},
		"domain instead of endpoint":   {join("", e, i), join(d, "", i), true},
		"endpoint of the network":      {join("", e, i), join("", e+".vpc", i), true},
		"a domain of its own":          {join(d, "", i), join("https://sso.example.com", "", i), true},
		"another domain":               {join(d, "", ""), join(d+".cn", "", ""), false},
		"another domain, one endpoint": {join(d, e, ""), join(d+".cn", e, ""), false},
		"another id":                   {join("", e, i), join("", e, i+"2"), false},
		"another id, one domain":       {join(d, e, i), join(d, e, i+"2"), false},
		"nothing in common":            {join(d, "", ""), join("", e, i), false},
	} {
		f := newFile(t)
		for _, pair := range [][2]string{{c.a, c.b}, {c.b, c.a}} {
			f.Instance = pair[0]
			must(t, f.Save(some()))
			f.Instance = pair[1]
			got, err := f.Load()
			refused := err != nil && strings.Contains(err.Error(), "of another instance: ")
			if c.same && (err != nil || len(got.Readings) != 5) || !c.same && !refused {
				t.Errorf("%s: %d readings, %v", name, len(got.Readings), err)
			}
			_ = os.Remove(f.Path + ".bad")
		}
	}
}
