package ram

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// Chain finds credentials. It is safe for concurrent use.
type Chain struct{ Send Send }

// Send sends a request once, and returns the body of a response with status 200. Its error is a poller.Error without secrets.
type Send func(ctx context.Context, r Request) ([]byte, error)

// Request is a request for a credential.
type Request struct {
	*http.Request
	What    string   // names it in errors
	Direct  bool     // without a proxy
	Secrets []string // that it contains
}

// maxFile bounds a file of profiles or of an identity token, in bytes.
const maxFile = 1 << 20

// profile is a profile of the vendor's CLI. Other sources are converted to one.
type profile struct {
	Name         string `json:"name"`
	Mode         string `json:"mode"`
	ID           string `json:"access_key_id"`
	Secret       string `json:"access_key_secret"`
	Token        string `json:"sts_token"`
	Role         string `json:"ram_role_arn"`
	Session      string `json:"ram_session_name"`
	Seconds      int    `json:"expired_seconds"`
	Region       string `json:"sts_region"`
	VPC          bool   `json:"enable_vpc"`
	Source       string `json:"source_profile"`
	MachineRole  string `json:"ram_role_name"`
	OIDCToken    string `json:"oidc_token"`
	OIDCFile     string `json:"oidc_token_file"`
	OIDCProvider string `json:"oidc_provider_arn"`
	Policy       string `json:"policy"`
	ExternalID   string `json:"external_id"`
}

func env(name string) string { return os.Getenv("ALIBABA_CLOUD_" + name) }

func enabled(name string) bool { return strings.EqualFold(env(name), "true") }

// Find returns the credentials of the first configured source, in the order of the vendor's SDKs. A configured source that fails is
// an error: an fs.PathError of a file, or the error of Send. No error contains a secret.
func (c *Chain) Find(ctx context.Context) (found Credentials, err error) {
	p, where, profiles, err := configured(ctx)
	if err != nil {
		return found, err
	}
	if p != nil {
		where += ", mode " + p.Mode
		found, err = c.of(ctx, p, profiles, nil)
	} else {
		found, where, err = c.implicit(ctx)
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("%s: %w", where, err)
	}
	found.Source = where + found.Source
	return found, nil
}

// configured returns the profile of the environment or of a file, its source, and the profiles that it may refer to. p may be nil.
func configured(ctx context.Context) (p *profile, where string, profiles []*profile, err error) {
	key := &profile{Mode: "AK", ID: env("ACCESS_KEY_ID"), Secret: env("ACCESS_KEY_SECRET"), Token: env("SECURITY_TOKEN")}
	if key.Token != "" {
		key.Mode = "StsToken"
	}
	if key.ID+key.Secret+key.Token != "" {
		return key, "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET", nil, nil
	}
	// The variables of the role and the token are also used by other sources.
	if env("OIDC_PROVIDER_ARN") != "" || env("ROLE_ARN") != "" && env("OIDC_TOKEN")+env("OIDC_TOKEN_FILE") != "" {
		return &profile{Mode: "OIDC"}, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", nil, nil
	}
	name, missing := env("PROFILE"), ""
	for _, file := range []struct {
		variable, inHome string
		disabled         bool
		parse            func(text []byte) (current string, profiles []*profile, err error)
	}{
		{"CONFIG_FILE", ".aliyun/config.json", enabled("CLI_PROFILE_DISABLED"), parseJSON},
		{"CREDENTIALS_FILE", ".alibabacloud/credentials", false, parseINI},
	} {
		path, text, err := read(ctx, file.variable, file.inHome)
		if file.disabled || err == nil && text == nil {
			continue
		}
		current := ""
		if err == nil {
			if current, profiles, err = file.parse(text); err != nil {
				err = &fs.PathError{Op: "parse", Path: path, Err: err}
			}
		}
		wanted := cmp.Or(name, current)
		if p := named(profiles, wanted); err != nil || p != nil {
			return p, fmt.Sprintf("profile %q of %s", wanted, path), profiles, err
		}
		if missing += fmt.Sprintf("no profile %q in %s; ", wanted, path); name == "" {
			break
		}
	}
	if name != "" && missing == "" {
		missing = fmt.Sprintf("no profile %q: no file of profiles; ", name)
	}
	if missing != "" {
		err = errors.New(strings.TrimSuffix(missing, "; "))
	}
	return nil, "", nil, err
}

// read returns the text of the file in a variable or, by default, of a file in the home directory: nil if that does not exist.
func read(ctx context.Context, variable, inHome string) (path string, text []byte, err error) {
	if path = env(variable); path != "" {
		text, err = disk.Read(ctx, path, maxFile)
	} else if home := os.Getenv("HOME"); home != "" {
		path = filepath.Join(home, inHome)
		text, err = disk.Read(ctx, path, maxFile)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return path, nil, nil
		}
	}
	return path, text, err
}

func parseJSON(text []byte) (current string, profiles []*profile, err error) {
	var file struct {
		Current  string
		Profiles []*profile
	}
	err = json.Unmarshal(text, &file)
	return file.Current, file.Profiles, err
}

// parseINI parses the credentials file of the vendor's SDKs. Each section is a profile.
func parseINI(text []byte) (current string, profiles []*profile, err error) {
	p := &profile{} // before the first section
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		key, value, pair := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && strings.Contains(line, "]"):
			name, _, _ := strings.Cut(line[1:], "]")
			p = &profile{Name: strings.TrimSpace(name)}
			profiles = append(profiles, p)
		case !pair:
			return "", nil, fmt.Errorf("line %d: neither [section] nor key = value", i+1)
		default:
			value, _, _ = strings.Cut(value, " #")
			value, _, _ = strings.Cut(value, " ;")
			field := map[string]*string{
				"type": &p.Mode, "access_key_id": &p.ID, "access_key_secret": &p.Secret, "role_name": &p.MachineRole,
				"role_arn": &p.Role, "role_session_name": &p.Session, "policy": &p.Policy,
			}[strings.TrimSpace(key)]
			if field != nil {
				*field = strings.Trim(strings.TrimSpace(value), "\"'`")
			}
		}
	}
	return "default", profiles, nil
}

func named(profiles []*profile, name string) *profile {
	i := slices.IndexFunc(profiles, func(p *profile) bool { return p != nil && p.Name == name })
	if i < 0 {
		return nil
	}
	return profiles[i]
}

// of returns the credentials of p. p may refer to another one of profiles, but not to p or to one of referring.
func (c *Chain) of(ctx context.Context, p *profile, profiles, referring []*profile) (found Credentials, err error) {
	key := Credentials{ID: p.ID, Secret: p.Secret}
	switch p.Mode {
	case "AK", "access_key":
		found, err = key.complete(false)
	case "StsToken":
		key.Token = p.Token
		found, err = key.complete(true)
	case "RamRoleArn", "ram_role_arn":
		if key, err = key.complete(false); err == nil {
			found, err = c.assume(ctx, p, &key)
		}
	case "ChainableRamRoleArn":
		source := named(profiles, p.Source)
		if referring = append(referring, p); source == nil || slices.Contains(referring, source) {
			return key, fmt.Errorf("source_profile %q does not exist, or refers back to this profile", p.Source)
		}
		if key, err = c.of(ctx, source, profiles, referring); err != nil {
			return key, fmt.Errorf("source_profile %q, mode %s: %w", p.Source, source.Mode, err)
		}
		found, err = c.assume(ctx, p, &key)
	case "EcsRamRole", "ecs_ram_role":
		found, err = c.machine(ctx, p.MachineRole)
	case "OIDC":
		found, err = c.assume(ctx, p, nil)
	default:
		err = errors.New("mode not supported; accepted: AK, StsToken, RamRoleArn, ChainableRamRoleArn, EcsRamRole, OIDC, " +
			"and in an INI file access_key, ram_role_arn, ecs_ram_role")
	}
	return found, err
}
