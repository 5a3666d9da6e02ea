package ram

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// maxFile bounds a file of profiles or of an identity token, in bytes.
const maxFile = 1 << 20

// profile is a profile of the vendor's CLI. The other sources are read as one.
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

// Find returns the credentials of the first source that is configured, in the order of the vendor's SDKs. A configured source
// that fails is an error. An error of a file is an fs.PathError, one of a request what Send returned; none shows a secret.
func (c *Chain) Find(ctx context.Context) (Credentials, error) {
	p, where, profiles, err := configured(ctx)
	if err != nil {
		return Credentials{}, err
	}
	var found Credentials
	if p != nil {
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

// configured returns what the environment or else a file of profiles gives, where that is, and the profiles it may refer to.
func configured(ctx context.Context) (p *profile, where string, profiles []*profile, err error) {
	key := &profile{Mode: "AK", ID: env("ACCESS_KEY_ID"), Secret: env("ACCESS_KEY_SECRET"), Token: env("SECURITY_TOKEN")}
	if key.Token != "" {
		key.Mode = "StsToken"
	}
	if key.ID+key.Secret+key.Token != "" {
		return key, "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET", nil, nil
	}
	role := env("ROLE_ARN")
	// The token file and the role have other uses, too.
	if env("OIDC_PROVIDER_ARN") != "" || role != "" && env("OIDC_TOKEN")+env("OIDC_TOKEN_FILE") != "" {
		return &profile{Mode: "OIDC"}, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN, role " + role, nil, nil
	}
	name := env("PROFILE")
	var missing []string
	if !enabled("CLI_PROFILE_DISABLED") {
		path, text, err := read(ctx, "CONFIG_FILE", ".aliyun/config.json")
		if err != nil {
			return nil, "", nil, err
		}
		if text != nil {
			var file struct {
				Current  string
				Profiles []*profile
			}
			if err := json.Unmarshal(text, &file); err != nil {
				return nil, "", nil, &fs.PathError{Op: "parse", Path: path, Err: err}
			}
			wanted := cmp.Or(name, file.Current)
			if p := named(file.Profiles, wanted); p != nil {
				return p, strings.TrimSpace(fmt.Sprintf("profile %q of %s, mode %s %s", wanted, path, p.Mode, p.Role)), file.Profiles, nil
			}
			missing = append(missing, fmt.Sprintf("no profile %q in %s", wanted, path))
		}
	}
	if len(missing) == 0 || name != "" {
		path, text, err := read(ctx, "CREDENTIALS_FILE", ".alibabacloud/credentials")
		if err != nil {
			return nil, "", nil, err
		}
		if text != nil {
			section := cmp.Or(name, "default")
			p, err := ofINI(string(text), section)
			if err != nil {
				return nil, "", nil, &fs.PathError{Op: "parse", Path: path, Err: err}
			}
			if p != nil {
				return p, strings.TrimSpace(fmt.Sprintf("section [%s] of %s, mode %s %s", section, path, p.Mode, p.Role)), nil, nil
			}
			missing = append(missing, fmt.Sprintf("no section [%s] in %s", section, path))
		}
	}
	if missing == nil && name != "" {
		missing = []string{fmt.Sprintf("ALIBABA_CLOUD_PROFILE is %q, and there is no file of profiles", name)}
	}
	if missing != nil {
		err = errors.New(strings.Join(missing, ", "))
	}
	return nil, "", nil, err
}

// read returns the text of the file that a variable names or, by default, of one in the home directory: nil if that is not there.
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

func named(profiles []*profile, name string) *profile {
	i := slices.IndexFunc(profiles, func(p *profile) bool { return p != nil && p.Name == name })
	if i < 0 {
		return nil
	}
	return profiles[i]
}

// ofINI reads a section of the credentials file of the vendor's SDKs; nil if there is no such section.
func ofINI(text, section string) (*profile, error) {
	values, in, there := map[string]string{}, false, false
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		key, value, pair := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			name, _, closed := strings.Cut(line[1:], "]")
			if !closed {
				return nil, fmt.Errorf("line %d: [ without ]", i+1)
			}
			in = strings.TrimSpace(name) == section
			there = there || in
		case !pair:
			return nil, fmt.Errorf("line %d: neither [section] nor key = value", i+1)
		case in:
			value, _, _ = strings.Cut(value, " #")
			value, _, _ = strings.Cut(value, " ;")
			values[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), "\"'`")
		}
	}
	if !there {
		return nil, nil
	}
	mode, ok := map[string]string{"access_key": "AK", "ecs_ram_role": "EcsRamRole", "ram_role_arn": "RamRoleArn"}[values["type"]]
	if !ok {
		return nil, fmt.Errorf("section [%s]: unknown type %q; accepted: access_key, ecs_ram_role, ram_role_arn", section, values["type"])
	}
	return &profile{
		Mode: mode, ID: values["access_key_id"], Secret: values["access_key_secret"], MachineRole: values["role_name"],
		Role: values["role_arn"], Session: values["role_session_name"], Policy: values["policy"],
	}, nil
}

// of returns the credentials of p. It may refer to another one of profiles, but not to one of those referring to it.
func (c *Chain) of(ctx context.Context, p *profile, profiles, referring []*profile) (Credentials, error) {
	key := Credentials{ID: p.ID, Secret: p.Secret}
	switch p.Mode {
	case "AK":
		return key.complete()
	case "StsToken":
		key.Token = p.Token
		return key.session()
	case "RamRoleArn":
		key, err := key.complete()
		if err != nil {
			return key, err
		}
		return c.assume(ctx, p, &key)
	case "ChainableRamRoleArn":
		source := named(profiles, p.Source)
		if referring = append(referring, p); source == nil || slices.Contains(referring, source) {
			return key, fmt.Errorf("source_profile %q is not there, or leads back to this profile", p.Source)
		}
		key, err := c.of(ctx, source, profiles, referring)
		if err != nil {
			return key, fmt.Errorf("source_profile %q, mode %s: %w", p.Source, source.Mode, err)
		}
		return c.assume(ctx, p, &key)
	case "EcsRamRole":
		return c.machine(ctx, p.MachineRole)
	case "OIDC":
		return c.assume(ctx, p, nil)
	}
	return key, fmt.Errorf("unknown mode %q; accepted: AK, StsToken, RamRoleArn, ChainableRamRoleArn, EcsRamRole, OIDC", p.Mode)
}
