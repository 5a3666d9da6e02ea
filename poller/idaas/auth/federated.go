package auth

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// idToken adds the ID token of another identity provider.
func idToken(ctx context.Context, a *Identity, g *Grant) error {
	text, err := g.read(ctx, a.IDToken, Credential.Line)
	if err != nil {
		return err
	}
	g.secret(text)
	g.federate(a, idTokenAssertion, text)
	if _, _, err := jwt.NewParser().ParseUnverified(text, jwt.MapClaims{}); errors.Is(err, jwt.ErrTokenMalformed) {
		return a.IDToken.about("the ID token", errors.New("is not a JWT"))
	}
	return nil
}

// federate adds an assertion for the federated credential.
func (g *Grant) federate(a *Identity, assertionType, assertion string) {
	g.Form.Set("application_federated_credential_name", a.FederatedCredential)
	g.assert(assertionType, assertion)
}

// identityDocument adds the document in the file, or a new one of the ECS metadata service, for this IDaaS instance only. That is
// valid for an hour and used once.
func identityDocument(ctx context.Context, a *Identity, g *Grant) error {
	what, text, err := "the PKCS#7 document", "", error(nil)
	if a.Document.Given() {
		text, err = g.read(ctx, a.Document, Credential.Read)
	} else {
		what = "the response of the ECS metadata service"
		audience := url.QueryEscape(fmt.Sprintf(`{"aud":%q,"signingTime":%d}`, g.instance, time.Now().Unix()))
		text, err = g.send.Metadata(ctx, "dynamic/instance-identity/pkcs7?audience="+audience)
	}
	if err != nil {
		return err
	}
	g.secret(text)
	document, err := signedDocument(text)
	g.secret(document)
	g.federate(a, pkcs7Assertion, document)
	return a.Document.about(what, err)
}

// privateCA adds the certificate, its chain, and an assertion signed with its key.
func privateCA(ctx context.Context, a *Identity, g *Grant) error {
	method, key, err := g.signingKey(ctx, a)
	if err != nil {
		return err
	}
	certificate, err := g.read(ctx, a.Certificate, Credential.Read)
	if err != nil {
		return err
	}
	chain, err := g.read(ctx, a.Chain, Credential.Read)
	if err != nil {
		return err
	}
	certificates, certificate, err := parseCertificates(certificate)
	if err != nil {
		return a.Certificate.about("the certificate", err)
	}
	if _, chain, err = parseCertificates(chain); err != nil {
		return a.Chain.about("the certificate chain", err)
	}
	switch c := certificates[0]; {
	case !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(c.PublicKey):
		return fmt.Errorf("the certificate %q is of another key than the private key", c.Subject.CommonName)
	case time.Now().After(c.NotAfter):
		return fmt.Errorf("the certificate %q expired at %s", c.Subject.CommonName, c.NotAfter.UTC().Format(time.RFC3339))
	}
	assertion, err := g.sign(a, method, key, "")
	g.federate(a, x509Assertion, assertion)
	g.Form.Set("client_x509", certificate)
	g.Form.Set("client_x509_chain", chain)
	return err
}
