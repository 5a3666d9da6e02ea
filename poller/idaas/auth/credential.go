package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// Credential is a secret text or, if File is set, a file that is read at each use.
type Credential struct {
	Text poller.Secret
	File string
}

// Given reports whether there is a text or a file.
func (c Credential) Given() bool { return c.File != "" || !c.Text.Empty() }

// maxCredential bounds the file of a Credential, in bytes.
const maxCredential = 64 << 10

// Read returns the text without surrounding space. Its error names the file, unless the name may be the secret itself.
func (c Credential) Read(ctx context.Context) (string, error) {
	if c.File == "" {
		return c.Text.Reveal(), nil
	}
	text, err := disk.Read(ctx, c.File, maxCredential)
	if e, ok := errors.AsType[*fs.PathError](err); ok && !filepath.IsAbs(c.File) {
		// The name may be the secret itself, by mistake.
		err = fmt.Errorf("%s of a file without an absolute path: %w", e.Op, e.Err)
	}
	s := strings.TrimSpace(string(text))
	if err == nil && s == "" {
		err = fmt.Errorf("%s is empty", c.File)
	}
	return s, err
}

// Line is Read for credentials of one line, which must not be a private key.
func (c Credential) Line(ctx context.Context) (string, error) {
	text, err := c.Read(ctx)
	if err == nil && c.File != "" {
		if err = new(poller.Secret).UnmarshalText([]byte(text)); err != nil {
			err = fmt.Errorf("%s has %w", c.File, err)
		}
	}
	if err == nil {
		err = c.about("the credential", noKey(text))
	}
	return text, err
}

// about returns err with what and the file as its subject.
func (c Credential) about(what string, err error) error {
	if err != nil && filepath.IsAbs(c.File) {
		what += " in " + c.File
	}
	if err != nil {
		err = fmt.Errorf("%s %w", what, err)
	}
	return err
}
