package simulator

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	maxDocumentAge = time.Hour
	clockLeeway    = time.Minute
)

// verifyDocument checks the signature, the instance and the age of an identity document.
func (s *Server) verifyDocument(client Client, text string) *refusal {
	if client.PKCS7 == nil {
		return &refusal{"invalid_client_credential", "the federated credential is not of the type PKCS#7"}
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if block, _ := pem.Decode([]byte(text)); block != nil {
		der, err = block.Bytes, nil
	}
	if err != nil {
		return &refusal{"invalid_client", "the PKCS#7 document is not Base64"}
	}
	now := s.config.Now()
	content, err := client.PKCS7(der, now)
	if err != nil {
		return &refusal{"invalid_client", "the signature of the PKCS#7 document is not valid: " + err.Error()}
	}
	// The signer treats the audience as text. IDaaS parses it as JSON.
	var said struct {
		Audience string `json:"audience"`
	}
	var meant struct {
		Audience string `json:"aud"`
		At       int64  `json:"signingTime"`
	}
	if json.Unmarshal(content, &said) != nil || json.Unmarshal([]byte(said.Audience), &meant) != nil || meant.Audience != s.config.InstanceID {
		return &refusal{"invalid_audience", "the PKCS#7 document is meant for another audience"}
	}
	switch age := now.Sub(time.Unix(meant.At, 0)); {
	case age > maxDocumentAge:
		return &refusal{"expired_token", "the PKCS#7 document was signed more than an hour ago"}
	case age < -clockLeeway:
		return &refusal{"invalid_client", "the PKCS#7 document was signed in the future"}
	}
	return nil
}

// verifyCertified checks an assertion with the certificate in the form.
func (s *Server) verifyCertified(audience string, client Client, form url.Values) *refusal {
	if client.PCA.Roots == nil {
		return &refusal{"invalid_client_credential", "the federated credential is not of the type PCA"}
	}
	block, _ := pem.Decode([]byte(form.Get("client_x509")))
	if block == nil {
		return &refusal{"invalid_client", "the client certificate is not PEM"}
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return &refusal{"invalid_client", "the client certificate cannot be parsed: " + err.Error()}
	}
	chain := x509.NewCertPool()
	if !chain.AppendCertsFromPEM([]byte(form.Get("client_x509_chain"))) {
		return &refusal{"invalid_client", "the certificate chain is empty"}
	}
	_, err = certificate.Verify(x509.VerifyOptions{
		Roots: client.PCA.Roots, Intermediates: chain, CurrentTime: s.config.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	switch {
	case err != nil:
		return &refusal{"invalid_client", "the client certificate is not trusted: " + err.Error()}
	case client.PCA.CommonName != "" && client.PCA.CommonName != certificate.Subject.CommonName:
		return &refusal{"invalid_client_credential", "the client certificate does not meet the verification condition"}
	}
	return s.verifyAssertion(audience, client, form, func(t *jwt.Token) (any, error) {
		if strings.HasPrefix(t.Method.Alg(), "HS") {
			return nil, jwt.ErrTokenSignatureInvalid
		}
		return certificate.PublicKey, nil
	})
}
