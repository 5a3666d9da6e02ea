package ram

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestChain: which source is used, what it is called, what it requests, or why it fails.
func TestChain(t *testing.T) {
	chained := profiles(`"name":"a","mode":"ChainableRamRoleArn","source_profile":"b","ram_role_arn":"acs:a"`,
		`"name":"b","mode":"ChainableRamRoleArn","source_profile":"c","ram_role_arn":"acs:b","external_id":"outer","expired_seconds":900`,
		`"name":"c",`+key)
	for name, c := range map[string]struct {
		env, files map[string]string
		cloud      cloud
		id, source string
		requests   string
		err        string
	}{
		"environment": {
			env: vars{"ACCESS_KEY_ID": "of-env", "ACCESS_KEY_SECRET": planted}, files: vars{config: "broken", "token": planted},
			id: "of-env", source: "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, mode AK",
		},
		"half of the environment": {
			env: vars{"ACCESS_KEY_ID": "x"}, cloud: cloud{role: "r"},
			err: "ACCESS_KEY_SECRET, mode AK: access key id or secret missing",
		},
		"a token only": {env: vars{"SECURITY_TOKEN": planted}, cloud: cloud{role: "r"}, err: "access key id or secret missing"},
		"a line break in a secret": {
			env: vars{"ACCESS_KEY_ID": "x", "ACCESS_KEY_SECRET": planted + "\nX: y"},
			err: "characters that RAM credentials never have",
		},
		"RRSA": {
			env: rrsa, files: vars{"token": "pod\n", config: profiles(`"name":"a",` + key)},
			id: "session-of-pod", source: "ALIBABA_CLOUD_OIDC_PROVIDER_ARN, mode OIDC acs:role",
			requests: "POST sts.aliyuncs.com/ AssumeRoleWithOIDC acs:role idaas-token-exporter 3600 pod acs:provider",
		},
		"RRSA in a region": {
			env: vars{
				"ROLE_ARN": "acs:role", "OIDC_PROVIDER_ARN": "p", "OIDC_TOKEN": "pod",
				"STS_REGION": "cn-x", "VPC_ENDPOINT_ENABLED": "TRUE", "ROLE_SESSION_NAME": "me",
			},
			id:       "session-of-pod",
			requests: "POST sts-vpc.cn-x.aliyuncs.com/ AssumeRoleWithOIDC acs:role me 3600 pod p",
		},
		"RRSA without a token":     {env: rrsa, cloud: cloud{role: "r"}, err: "open HOME/token: no such file"},
		"RRSA with an empty token": {env: rrsa, files: vars{"token": "\n"}, cloud: cloud{role: "r"}, err: "read HOME/token: empty"},
		"RRSA without a token file": {
			env: vars{"ROLE_ARN": "r", "OIDC_PROVIDER_ARN": "p"}, cloud: cloud{role: "r"}, err: "no ALIBABA_CLOUD_OIDC_TOKEN_FILE",
		},
		"RRSA without a provider": {
			env: vars{"ROLE_ARN": "r", "OIDC_TOKEN_FILE": "HOME/token"}, cloud: cloud{role: "r"},
			err: "no ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
		},
		"RRSA without a role": {
			env: vars{"OIDC_PROVIDER_ARN": "p", "OIDC_TOKEN": "t"}, cloud: cloud{role: "r"}, err: "nor ALIBABA_CLOUD_ROLE_ARN is set",
		},
		"RRSA is refused": {
			env: rrsa, files: vars{"token": planted, config: profiles(`"name":"a",` + key)},
			cloud: cloud{statuses: map[string]int{"sts": 403}}, err: "mode OIDC: AssumeRoleWithOIDC at sts.aliyuncs.com: 403",
		},
		"a token file for others": {
			env: vars{"OIDC_TOKEN_FILE": "HOME/token"}, files: vars{config: profiles(`"name":"a",` + key)}, id: "of-file",
		},
		"profile": {
			files: vars{config: profiles(`"name":"a",`+key, `"name":"a","mode":"other"`), shared: "broken"},
			id:    "of-file", source: `profile "a" of HOME/` + config + `, mode AK`,
		},
		"profile by name": {
			env: vars{"PROFILE": "b"}, files: vars{config: profiles(`"name":"a"`, `"name":"b",`+key)}, id: "of-file",
			source: `profile "b" of HOME/` + config + `, mode AK`,
		},
		"profile in another file": {
			env: vars{"CONFIG_FILE": "HOME/c"}, files: vars{config: "broken", "c": "\ufeff" + profiles(`"name":"a",`+key)},
			id: "of-file",
		},
		"no such file": {
			env: vars{"CONFIG_FILE": "HOME/c"}, files: vars{config: profiles(`"name":"a",` + key)}, cloud: cloud{role: "r"},
			err: "open HOME/c: no such file",
		},
		"profiles disabled": {
			env: vars{"CLI_PROFILE_DISABLED": "true"}, files: vars{config: "broken"}, cloud: cloud{role: "r"}, id: "of-r",
		},
		"a broken file": {
			files: vars{config: `{"access_key_secret": "` + planted, shared: ini}, cloud: cloud{role: "r"},
			err: "parse HOME/" + config + ": unexpected end of JSON input",
		},
		"a number for a text": {
			files: vars{config: profiles(`"name":"a","access_key_secret":12345`)}, cloud: cloud{role: "r"},
			err: "parse HOME/" + config + ": json: cannot unmarshal number",
		},
		"an empty file":       {files: vars{config: ""}, cloud: cloud{role: "r"}, err: "parse HOME/" + config},
		"a folder for a file": {files: vars{config + "/x": ""}, cloud: cloud{role: "r"}, err: config + ": is a directory"},
		"no current profile": {
			files: vars{config: profiles(`"name":"b",` + key), shared: ini}, cloud: cloud{role: "r"},
			err: `no profile "a" in HOME/` + config,
		},
		"no profiles": {files: vars{config: `{}`}, cloud: cloud{role: "r"}, err: `no profile "" in HOME/` + config},
		"a missing profile": {
			env: vars{"PROFILE": "gone"}, files: vars{config: profiles(`"name":"a",` + key)}, cloud: cloud{role: "r"},
			err: `no profile "gone" in HOME/` + config,
		},
		"one in neither file": {
			env: vars{"PROFILE": "gone"}, files: vars{config: profiles(`"name":"a",` + key), shared: ini}, cloud: cloud{role: "r"},
			err: config + `; no profile "gone" in HOME/` + shared,
		},
		"a profile without a file": {env: vars{"PROFILE": "gone"}, cloud: cloud{role: "r"}, err: `no profile "gone": no file of profiles`},
		"a profile without a key": {
			files: vars{config: profiles(`"name":"a","mode":"AK"`)}, cloud: cloud{role: "r"}, err: "access key id or secret missing",
		},
		"mode StsToken": {
			files: vars{config: profiles(`"name":"a","mode":"StsToken","access_key_id":"s","access_key_secret":"x","sts_token":"y"`)},
			id:    "s",
		},
		"StsToken without a token": {
			files: vars{config: profiles(`"name":"a","mode":"StsToken","access_key_id":"s","access_key_secret":"x"`)},
			err:   "security token missing",
		},
		"mode RamRoleArn": {
			files: vars{config: profiles(`"name":"a","mode":"RamRoleArn","access_key_id":"k","access_key_secret":"x",` +
				`"ram_role_arn":"acs:role/a+b","ram_session_name":"me",` +
				`"sts_region":"cn-x","expired_seconds":900,"policy":"{ }","external_id":"out"`)},
			id: "session-of-k", source: `profile "a" of HOME/` + config + `, mode RamRoleArn acs:role/a+b`,
			requests: "POST sts.cn-x.aliyuncs.com/ AssumeRole 2015-04-01 acs:role/a+b me 900 { } out",
		},
		"RamRoleArn without a role": {
			files: vars{config: profiles(`"name":"a","mode":"RamRoleArn","access_key_id":"k","access_key_secret":"x"`)},
			err:   "neither ram_role_arn nor",
		},
		"RamRoleArn without a key": {
			files: vars{config: profiles(`"name":"a","mode":"RamRoleArn","ram_role_arn":"r"`)}, err: "access key id or secret missing",
		},
		"mode EcsRamRole": {
			files: vars{config: profiles(`"name":"a","mode":"EcsRamRole","ram_role_name":"n"`)}, id: "of-n",
			source: `profile "a" of HOME/` + config + `, mode EcsRamRole n`,
		},
		"EcsRamRole, disabled": {
			env: vars{"ECS_METADATA_DISABLED": "true"}, files: vars{config: profiles(`"name":"a","mode":"EcsRamRole"`)},
			err: "ALIBABA_CLOUD_ECS_METADATA_DISABLED is set",
		},
		"mode OIDC": {
			files: vars{config: profiles(`"name":"a","mode":"OIDC","oidc_provider_arn":"p","oidc_token_file":"HOME/x",` +
				`"oidc_token":"pod","ram_role_arn":"r"`)},
			id: "session-of-pod", requests: "POST sts.aliyuncs.com/ AssumeRoleWithOIDC r idaas-token-exporter 3600 pod p",
		},
		"mode ChainableRamRoleArn": {
			files: vars{config: chained}, id: "session-of-session-of-of-file",
			source: `profile "a" of HOME/` + config + `, mode ChainableRamRoleArn acs:a`,
			requests: "POST sts.aliyuncs.com/ AssumeRole 2015-04-01 acs:b idaas-token-exporter 900 outer, " +
				"POST sts.aliyuncs.com/ AssumeRole 2015-04-01 acs:a idaas-token-exporter 3600",
		},
		"a circle of one": {
			files: vars{config: profiles(`"name":"a","mode":"ChainableRamRoleArn","source_profile":"a"`)},
			err:   `source_profile "a" does not exist, or refers back`,
		},
		"a circle of two": {
			files: vars{config: profiles(`"name":"a","mode":"ChainableRamRoleArn","source_profile":"b"`,
				`"name":"b","mode":"ChainableRamRoleArn","source_profile":"a"`)},
			err: `source_profile "b", mode ChainableRamRoleArn: source_profile "a" does not exist, or refers back`,
		},
		"a circle further on": {
			files: vars{config: profiles(`"name":"a","mode":"ChainableRamRoleArn","source_profile":"b"`,
				`"name":"b","mode":"ChainableRamRoleArn","source_profile":"b"`)},
			err: "refers back",
		},
		"a source that is missing": {
			files: vars{config: profiles(`"name":"a","mode":"ChainableRamRoleArn","source_profile":"b"`)},
			err:   `source_profile "b" does not exist`,
		},
		"mode External": {
			files: vars{config: profiles(`"name":"a","mode":"External","process_command":"touch HOME/started ` + planted + `"`)},
			cloud: cloud{role: "r"}, err: "mode External: mode not supported; accepted: AK, StsToken,",
		},
		"mode OAuth": {
			files: vars{config: profiles(`"name":"a","mode":"OAuth","oauth_refresh_token":"` + planted + `"`)},
			cloud: cloud{role: "r"}, err: "mode OAuth: mode not supported",
		},
		"mode CloudSSO": {
			files: vars{config: profiles(`"name":"a","mode":"CloudSSO","access_token":"` + planted + `"`)}, cloud: cloud{role: "r"},
			err: "mode CloudSSO: mode not supported",
		},
		"INI": {
			files: vars{shared: ini}, cloud: cloud{role: "r"}, id: "of-ini",
			source: `profile "default" of HOME/` + shared + ", mode access_key",
		},
		"INI, another section": {
			env: vars{"PROFILE": "other"}, files: vars{shared: ini, config: profiles(`"name":"a",` + key)}, id: "of-of-section",
			source: `profile "other" of HOME/` + shared + ", mode ecs_ram_role of-section",
		},
		"INI elsewhere": {env: vars{"CREDENTIALS_FILE": "HOME/c"}, files: vars{"c": ini, shared: "broken"}, id: "of-ini"},
		"INI, RamRoleArn": {
			files: vars{shared: arn}, id: "session-of-ini", requests: "POST sts.aliyuncs.com/ AssumeRole 2015-04-01 acs:role me 3600",
		},
		"INI, not there":          {env: vars{"CREDENTIALS_FILE": "HOME/c"}, cloud: cloud{role: "r"}, err: "open HOME/c: no such file"},
		"INI without the section": {files: vars{shared: "[x]\n"}, cloud: cloud{role: "r"}, err: `no profile "default" in HOME/` + shared},
		"INI, a type": {
			files: vars{shared: "[default]\ntype=bearer\n"}, cloud: cloud{role: "r"}, err: "mode bearer: mode not supported; accepted: AK,",
		},
		"INI without a secret": {
			files: vars{shared: "[default]\ntype=access_key\naccess_key_id=" + planted}, cloud: cloud{role: "r"},
			err: "access key id or secret missing",
		},
		"INI, broken": {
			files: vars{shared: "[default]\n" + planted}, cloud: cloud{role: "r"},
			err: "parse HOME/" + shared + ": line 2: neither [section] nor key = value",
		},
		"INI, a broken section": {files: vars{shared: "\n[default\n"}, cloud: cloud{role: "r"}, err: "line 2: neither"},
		"machine": {
			cloud: cloud{role: "exporter"}, id: "of-exporter", source: "ECS role exporter",
			requests: "PUT 100.100.100.200/latest/api/token, GET 100.100.100.200/latest/meta-data/ram/security-credentials/, " +
				"GET 100.100.100.200/latest/meta-data/ram/security-credentials/exporter",
		},
		"machine, a role by name":     {env: vars{"ECS_METADATA": "n", "CREDENTIALS_URI": "http://x/"}, id: "of-n", source: "ECS role n"},
		"machine, old service":        {cloud: cloud{role: "r", statuses: map[string]int{"PUT": 404}}, id: "of-r"},
		"machine, no response to PUT": {cloud: cloud{role: "r", statuses: map[string]int{"PUT": 599}}, id: "of-r"},
		"machine, no v1": {
			cloud: cloud{role: "r", statuses: map[string]int{"PUT": 599, "v1 ": 403}}, err: "PUT api/token: 599",
		},
		"machine, old service, 503": {
			cloud: cloud{role: "r", statuses: map[string]int{"PUT": 404, "v1 ": 503}},
			err:   "GET meta-data/ram/security-credentials/: 503",
		},
		"machine, v1 disabled": {
			env: vars{"IMDSV1_DISABLED": "true"}, cloud: cloud{role: "r", statuses: map[string]int{"PUT": 404}},
			err: "PUT api/token: 404",
		},
		"machine, none": {
			err: "no access key in the environment, no profile, no credentials URI; ECS role: " +
				"metadata service 100.100.100.200, GET meta-data/ram/security-credentials/: 404",
		},
		"machine, disabled": {
			env: vars{"ECS_METADATA_DISABLED": "true"},
			err: "no credentials URI; ECS role: ALIBABA_CLOUD_ECS_METADATA_DISABLED is set",
		},
		"URI": {
			env: vars{"CREDENTIALS_URI": "http://localhost:1/" + planted}, id: "of-uri",
			source: "ALIBABA_CLOUD_CREDENTIALS_URI, host localhost:1",
		},
		"URI, no metadata service": {
			env: vars{"CREDENTIALS_URI": "http://x/"}, cloud: cloud{statuses: map[string]int{"100.100": 599}}, id: "of-uri",
		},
		"URI, disabled metadata": {
			env: vars{"CREDENTIALS_URI": "http://x/", "ECS_METADATA_DISABLED": "true"}, cloud: cloud{role: "r"}, id: "of-uri",
			requests: "GET x/",
		},
		"URI, but a role": {env: vars{"CREDENTIALS_URI": "http://x/"}, cloud: cloud{role: "r"}, id: "of-r"},
		"URI, metadata service fails": {
			env: vars{"CREDENTIALS_URI": "http://x/"}, cloud: cloud{role: "r", statuses: map[string]int{"100.100": 503}},
			err: "PUT api/token: 503",
		},
		"URI, a role that is not there": {
			env: vars{"CREDENTIALS_URI": "http://x/", "ECS_METADATA": "n"}, cloud: cloud{statuses: map[string]int{"/n": 404}},
			err: "GET meta-data/ram/security-credentials/n: 404",
		},
		"URI, none": {env: vars{"CREDENTIALS_URI": planted}, err: "ALIBABA_CLOUD_CREDENTIALS_URI: not a URL"},
		"no JSON":   {cloud: cloud{role: "r", body: planted}, err: "response is not JSON with credentials"},
		"another Code": {
			cloud: cloud{role: "r", body: `{"Code":"` + planted + `"}`}, err: "response with a Code other than Success",
		},
		"no secret": {
			cloud: cloud{role: "r", body: `{"AccessKeyId":"a","SecurityToken":"t","Expiration":"` + expires + `"}`},
			err:   "access key id or secret missing",
		},
		"no token": {
			cloud: cloud{role: "r", body: `{"AccessKeyId":"a","AccessKeySecret":"` + planted + `","Expiration":"` + expires + `"}`},
			err:   "security token missing",
		},
		"no expiration": {
			cloud: cloud{role: "r", body: `{"AccessKeyId":"a","AccessKeySecret":"` + planted + `","SecurityToken":"t"}`},
			err:   "without an Expiration in RFC 3339",
		},
		"expired": {
			cloud: cloud{role: "r", body: `{"AccessKeyId":"a","AccessKeySecret":"` + planted + `","SecurityToken":"t",` +
				`"Expiration":"2001-01-01T00:00:00Z"}`},
			err: "session expired at 2001-01-01T00:00:00Z",
		},
		"a header in a key": {
			cloud: cloud{role: "r", body: `{"AccessKeyId":"a\r\nX: y","AccessKeySecret":"` + planted + `","SecurityToken":"t",` +
				`"Expiration":"` + expires + `"}`},
			err: "characters that RAM",
		},
	} {
		t.Run(name, func(t *testing.T) {
			home := alone(t, c.env, c.files)
			stdout := os.Stdout
			printed, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			os.Stdout = printed
			chain := Chain{Send: c.cloud.send}
			found, err := chain.Find(t.Context())
			os.Stdout = stdout
			if info, err := printed.Stat(); err != nil || info.Size() > 0 {
				t.Errorf("printed: %d bytes, %v", info.Size(), err)
			}
			said := strings.ReplaceAll(fmt.Sprint(err), home, "HOME")
			if (c.err == "") != (err == nil) || !strings.Contains(said, c.err) || strings.Contains(said, planted) || strings.Contains(said, "\n") {
				t.Errorf("%q, want %q in it", said, c.err)
			}
			source := strings.ReplaceAll(found.Source, home, "HOME")
			if found.ID != c.id || c.source != "" && source != c.source || strings.Contains(source, planted) {
				t.Errorf("%q of %q, want %q of %q", found.ID, source, c.id, c.source)
			}
			if got := strings.Join(c.cloud.requests, ", "); c.requests != "" && got != c.requests {
				t.Errorf("requests %q, want %q", got, c.requests)
			}
			if found.Token != "" && found.Token != "y" && found.Expires.IsZero() {
				t.Error("a session without an expiration")
			}
			for path, text := range c.files {
				if got, err := os.ReadFile(filepath.Join(home, path)); err != nil || string(got) != text {
					t.Errorf("%s was changed: %q, %v", path, got, err)
				}
			}
			if _, err := os.Stat(filepath.Join(home, "started")); err == nil {
				t.Error("a process was started")
			}
		})
	}
}
