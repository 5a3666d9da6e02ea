package auth

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// federated adds what was signed elsewhere.
func federated(assertionType string) func(context.Context, *Identity, string, string, *Grant) error {
	return func(_ context.Context, a *Identity, _, text string, g *Grant) error {
		g.federate(a, assertionType, text)
		return nil
	}
}

// federate adds an assertion, as the federated credential that it is for.
func (g *Grant) federate(a *Identity, assertionType, assertion string) {
	g.Form.Set("application_federated_credential_name", a.FederatedCredential)
	g.Form.Set("client_assertion_type", assertionType)
	g.Form.Set("client_assertion", assertion)
}

// identityDocument is the one in the file or one that the ECS metadata service signs now, for this IDaaS instance only:
// good for an hour, it is used once.
func identityDocument(ctx context.Context, a *Identity, instance string) (string, error) {
	if a.Document.Given() {
		return a.Document.Read(ctx)
	}
	session, err := a.metadata(ctx, http.MethodPut, "api/token", "X-Aliyun-Ecs-Metadata-Token-Ttl-Seconds", "3600")
	if err != nil {
		return "", err
	}
	audience := url.QueryEscape(fmt.Sprintf(`{"aud":%q,"signingTime":%d}`, instance, time.Now().Unix()))
	return a.metadata(ctx, http.MethodGet, "dynamic/instance-identity/pkcs7?audience="+audience, "X-Aliyun-Ecs-Metadata-Token", session)
}

// metadata asks the ECS metadata service, which is reached from the machine itself only, and so in plain HTTP.
func (a *Identity) metadata(ctx context.Context, method, path, header, value string) (string, error) {
	const service = "the ECS metadata service, 100.100.100.200,"
	req, err := http.NewRequestWithContext(ctx, method, "http://100.100.100.200/latest/"+path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set(header, value)
	resp, err := a.Metadata.RoundTrip(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("no answer in time")
		}
		return "", fmt.Errorf("%s cannot be asked: %w", service, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		path, _, _ = strings.Cut(path, "?")
		return "", fmt.Errorf("%s answers %d to %s %s", service, resp.StatusCode, method, path)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxCredential))
	text := strings.TrimSpace(string(body))
	if err == nil && text == "" {
		err = errors.New("an empty answer")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", service, err)
	}
	return text, nil
}

// privateCA adds the certificate, and an assertion signed with its key.
func privateCA(ctx context.Context, a *Identity, endpoint, text string, g *Grant) error {
	certificate, err := a.Certificate.Read(ctx)
	if err != nil {
		return err
	}
	chain, err := a.Chain.Read(ctx)
	if err != nil {
		return err
	}
	method, key, err := signingKey([]byte(text))
	if err == nil {
		err = certifies(certificate, key)
	}
	if err != nil {
		return err
	}
	assertion, err := g.sign(a, endpoint, method, key, "")
	g.federate(a, x509Assertion, assertion)
	g.Form.Set("client_x509", certificate)
	g.Form.Set("client_x509_chain", chain)
	return err
}

// certifies tells why the certificate is of no use for the key, if it is of none.
func certifies(certificate string, key crypto.Signer) error {
	block, _ := pem.Decode([]byte(certificate))
	if block == nil || block.Type != "CERTIFICATE" {
		return errors.New("the certificate: no PEM block of one")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return fmt.Errorf("the certificate: %w", err)
	case !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(c.PublicKey):
		return fmt.Errorf("the certificate %q is of another key than the private key", c.Subject.CommonName)
	case time.Now().After(c.NotAfter):
		return fmt.Errorf("the certificate %q expired at %s", c.Subject.CommonName, c.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}
