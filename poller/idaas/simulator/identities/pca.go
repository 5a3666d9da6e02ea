package identities

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// CA is a private certificate authority: a root, and an intermediate that issues the certificates.
type CA struct {
	// Roots has the root, Root its PEM, and Chain the PEM of the intermediate.
	Roots       *x509.CertPool
	Root, Chain string

	issuer authority
}

// NewCA returns a CA with certificates that are valid from now on, for years.
func NewCA(t testing.TB, now time.Time) *CA {
	t.Helper()
	root := newAuthority(t, "root", nil, now)
	ca := &CA{
		Roots: x509.NewCertPool(), Root: encode("CERTIFICATE", root.certificate.Raw), issuer: newAuthority(t, "intermediate", &root, now),
	}
	ca.Roots.AddCert(root.certificate)
	ca.Chain = encode("CERTIFICATE", ca.issuer.certificate.Raw)
	return ca
}

// Issue returns a PEM certificate for a public key, for both a client and a server of that name.
func (ca *CA) Issue(t testing.TB, name string, key crypto.PublicKey, from, to time.Time) string {
	t.Helper()
	return encode("CERTIFICATE", sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: from, NotAfter: to,
	}, &ca.issuer, key))
}

// PrivateKey returns the PEM of a private key.
func PrivateKey(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return encode("PRIVATE KEY", der)
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// newAuthority returns an authority that is certified by by, or by itself if by is nil.
func newAuthority(t testing.TB, name string, by *authority, now time.Time) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:  x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(3, 0, 0),
	}
	if by == nil {
		by = &authority{template, key}
	}
	certificate, err := x509.ParseCertificate(sign(t, template, by, key.Public()))
	if err != nil {
		t.Fatal(err)
	}
	return authority{certificate, key}
}

func sign(t testing.TB, template *x509.Certificate, by *authority, key crypto.PublicKey) []byte {
	t.Helper()
	template.SerialNumber = new(big.Int).SetBytes([]byte(rand.Text()))
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
