package idaas

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator/identities"
)

// breaks returns a text with other line breaks.
func breaks(text, with string) string { return strings.ReplaceAll(text, "\n", with) }

// received records the forms of all token requests.
func (a *api) received(forms *[]url.Values) func(*Config) {
	return func(c *Config) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.GetBody != nil {
				body, _ := r.GetBody()
				text, _ := io.ReadAll(body)
				form, _ := url.ParseQuery(string(text))
				*forms = append(*forms, form)
			}
			return a.transport.RoundTrip(r)
		})
	}
}

// refusedBy reports whether an access token was refused for a reason.
func refusedBy(r *poller.Reading, text string) bool {
	return r.Failure != nil && r.Failure.Reason == poller.AccessToken && strings.Contains(r.Failure.Text, text)
}

// checkHidden fails if a line of one of the secrets is in the texts or was sent.
func checkHidden(t *testing.T, secrets []string, forms []url.Values, texts ...string) {
	t.Helper()
	for _, form := range forms {
		for _, values := range form {
			texts = append(texts, values...)
		}
	}
	all := strings.Join(texts, "\n")
	for _, secret := range secrets {
		for line := range strings.Lines(secret) {
			if line = strings.TrimSpace(line); len(line) > 8 && !strings.HasPrefix(line, "-----") && strings.Contains(all, line) {
				t.Errorf("%q was sent or shown", line)
			}
		}
	}
}

// The token endpoint receives only the certificates of certificate files. A file with a private key is refused.
func TestCertificateFiles(t *testing.T) {
	const refusedKey = "contains a private key"
	ec, rsa := ecKey(t, elliptic.P256()), rsaKey(t, 2048)
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	random := slices.Repeat([]byte("a random text, "), 40)
	ca := identities.NewCA(t, start2020)
	leaf := ca.Issue(t, "exporter", ec.Public(), start2020, start2020.AddDate(1, 0, 0))
	pkcs8Key := identities.PrivateKey(t, ec)
	keys := map[string]string{
		"PKCS #8": pkcs8Key, "PKCS #1": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa)), "SEC 1": block("EC PRIVATE KEY", sec1),
		"encrypted PKCS #8": block("ENCRYPTED PRIVATE KEY", random),
		"encrypted PKCS #1": strings.Replace(block("RSA PRIVATE KEY", random), "\n", "\nProc-Type: 4,ENCRYPTED\n\n", 1),
		"OpenSSH":           block("OPENSSH PRIVATE KEY", random),
		"PGP":               block("PGP PRIVATE KEY BLOCK", random),
		"SSH2":              strings.ReplaceAll(block("SSH2 ENCRYPTED PRIVATE KEY", random), "-----", "----"),
		"without an end":    strings.Split(pkcs8Key, "-----END")[0],
		"on one line":       breaks(pkcs8Key, " "), "escaped": breaks(pkcs8Key, `\n`),
		"with CRLF":  breaks(pkcs8Key, "\r\n"),
		"indented":   breaks(pkcs8Key, "\n   "),
		"lower case": strings.ReplaceAll(pkcs8Key, "BEGIN PRIVATE KEY", "begin private key"),
	}
	type files struct{ certificate, chain, sentCertificate, sentChain, refused string }
	table := map[string]files{
		"as usual":      {certificate: leaf, chain: ca.Chain},
		"text after it": {certificate: leaf + "issued by ops, KEY of exporter\n", chain: ca.Chain + "the end"},
		"text before it": {
			certificate: "subject=CN = exporter\nissuer=CN = intermediate\n" + leaf, chain: "Bag Attributes: <No Attributes>\n" + ca.Chain,
		},
		"CERTIFICATE in a comment": {
			certificate: "# CERTIFICATE\n# -----BEGIN CERTIFICATE-----\n" + leaf,
			chain:       "between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----\n" + ca.Chain,
		},
		"BEGIN without an END": {certificate: "-----BEGIN CERTIFICATE-----\n" + leaf, chain: ca.Chain},
		"CRLF":                 {certificate: breaks(leaf, "\r\n"), chain: breaks(ca.Chain, "\r\n")},
		"CR":                   {certificate: breaks(leaf, "\r"), chain: breaks(ca.Chain, "\r")},
		"on one line":          {certificate: breaks(leaf, " "), chain: breaks(ca.Chain+ca.Root, " "), sentChain: ca.Chain + ca.Root},
		"without line breaks":  {certificate: breaks(leaf, ""), chain: breaks(ca.Chain, "")},
		"escaped line breaks":  {certificate: breaks(leaf, `\n`), chain: breaks(ca.Chain+ca.Root, `\r\n`), sentChain: ca.Chain + ca.Root},
		"indented":             {certificate: breaks(leaf, "\n  "), chain: breaks(ca.Chain, "\n\t")},
		"several": {
			certificate: leaf + ca.Chain,
			chain:       ca.Chain + "\n# the root\n" + ca.Root, sentCertificate: leaf + ca.Chain, sentChain: ca.Chain + ca.Root,
		},
		"parameters, public key, CRL": {
			certificate: block("EC PARAMETERS", random) + leaf + block("PUBLIC KEY", random), chain: ca.Chain + block("X509 CRL", random),
		},
		"no certificate": {certificate: "nonsense", chain: ca.Chain, refused: "has no PEM block CERTIFICATE"},
		"no chain":       {certificate: leaf, chain: "nonsense", refused: "the certificate chain in /"},
		"a key in Base64": {
			certificate: base64.StdEncoding.EncodeToString([]byte(pkcs8Key)), chain: ca.Chain, refused: "has no PEM block CERTIFICATE",
		},
		"a key in DER":               {certificate: leaf, chain: string(sec1), refused: "has no PEM block CERTIFICATE"},
		"a key called a certificate": {certificate: leaf, chain: block("CERTIFICATE", sec1), refused: "cannot be parsed"},
		"a broken one in the chain":  {certificate: leaf, chain: ca.Chain + block("CERTIFICATE", random), refused: "cannot be parsed"},
		"a login page":               {certificate: leaf, chain: "<html>", refused: "has no PEM block CERTIFICATE"},
		"PuTTY": {
			certificate: leaf + "PuTTY-User-Key-File-3: ecdsa-sha2-nistp256\nPrivate-Lines: 1\nAAAA\n", chain: ca.Chain, refused: refusedKey,
		},
	}
	var secrets []string
	for name, text := range keys {
		secrets = append(secrets, text)
		text = "\n" + text + "\n"
		table[name+" before"] = files{certificate: text + leaf + ca.Chain, chain: ca.Chain, refused: refusedKey}
		table[name+" between"] = files{certificate: leaf + text + ca.Chain, chain: ca.Chain, refused: refusedKey}
		table[name+" after"] = files{certificate: leaf + ca.Chain + text, chain: ca.Chain, refused: refusedKey}
		table[name+" alone"] = files{certificate: text, chain: ca.Chain, refused: refusedKey}
		table[name+" as chain"] = files{certificate: leaf, chain: text, refused: refusedKey}
		table[name+" in the chain"] = files{certificate: leaf, chain: ca.Chain + text + ca.Root, refused: refusedKey}
	}
	for name, tt := range table {
		for _, inFile := range []bool{true, false} { // or in client-config.json
			synctest.Test(t, func(t *testing.T) {
				client := simulator.Client{ID: testClient, FederatedCredential: "laptops", PCA: simulator.PCA{Roots: ca.Roots}}
				a := newAPI(t, simulator.Config{Clients: []simulator.Client{client}})
				credential := func(text string) auth.Credential {
					if inFile {
						return auth.Credential{File: newFile(t, []byte(text))}
					}
					return auth.Credential{Text: poller.NewSecret(text)}
				}
				if !inFile {
					tt.refused = strings.TrimSuffix(tt.refused, " in /")
				}
				var forms []url.Values
				c := a.client(by(auth.Identity{
					Method: "pca", FederatedCredential: "laptops", PrivateKey: credential(pkcs8Key),
					Certificate: credential(tt.certificate), Chain: credential(tt.chain),
				}), a.received(&forms))
				r := a.poll(t, c, a.fill(1, 4)...)[0]
				failure := ""
				if r.Failure != nil {
					failure = r.Failure.Text
				}
				checkHidden(t, secrets, forms, failure, a.log.String())
				if tt.refused != "" {
					if !refusedBy(r, tt.refused) || len(forms) > 0 {
						t.Errorf("%s: %d requests, %+v", name, len(forms), r.Failure)
					}
					return
				}
				a.checkCounts(t, r)
				want := [2]string{leaf, ca.Chain}
				if tt.sentCertificate != "" {
					want[0] = tt.sentCertificate
				}
				if tt.sentChain != "" {
					want[1] = tt.sentChain
				}
				if len(forms) != 1 || forms[0].Get("client_x509")+"\n" != want[0] || forms[0].Get("client_x509_chain")+"\n" != want[1] {
					t.Errorf("%s: received %q", name, forms)
				}
			})
		}
	}
}

// A document that is not a PKCS#7 signed document is not sent, from the file or from the metadata service.
func TestWhatIsNoDocument(t *testing.T) {
	const refused, unsigned = "is not a PKCS#7 signed document", "the signature of the PKCS#7 document is not valid"
	armor := func(kind, text string) string {
		return "-----BEGIN " + kind + "-----\n" + text + "-----END " + kind + "-----\n"
	}
	key := identities.PrivateKey(t, ecKey(t, elliptic.P256()))
	base := func(der ...byte) string { return base64.StdEncoding.EncodeToString(der) }
	signed := []byte{0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2, 0xa0, 2, 0x30, 0}
	element := func(content ...byte) []byte { return append([]byte{0x30, byte(len(content))}, content...) }
	for name, tt := range map[string]struct {
		text    func(document string) string
		refused string // "": accepted
	}{
		"Base64":                {func(d string) string { return d }, ""},
		"Base64 on one line":    {func(d string) string { return breaks(d, "") }, ""},
		"Base64 with CRLF":      {func(d string) string { return breaks(d, "\r\n") }, ""},
		"PEM":                   {func(d string) string { return armor("PKCS7", d) }, ""},
		"PEM, CMS, escaped":     {func(d string) string { return breaks(armor("CMS", d), `\n`) }, ""},
		"PEM, text around":      {func(d string) string { return "signed today\n" + armor("PKCS7", d) + "the end" }, ""},
		"PEM, on one line":      {func(d string) string { return breaks(armor("PKCS #7 SIGNED DATA", d), " ") }, ""},
		"login page":            {func(string) string { return "<!DOCTYPE html><html>log in</html>" }, refused},
		"login page with it":    {func(d string) string { return "<html>" + d + "</html>" }, refused},
		"too long":              {func(d string) string { return d + strings.Repeat(" ", 64<<10) + "x" }, "longer than 65536 bytes"},
		"much too long":         {func(string) string { return strings.Repeat("A", 20<<20) }, "longer than 65536 bytes"},
		"cut":                   {func(d string) string { return d[:len(d)/2/64*64] }, refused},
		"twice":                 {func(d string) string { return strings.TrimRight(d, "=\n") + d }, refused},
		"JSON":                  {func(d string) string { return `{"signature": "` + d + `"}` }, refused},
		"JWT":                   {func(string) string { return "eyJhbGciOiJub25lIn0.e30." }, refused},
		"certificate":           {func(string) string { return identities.NewCA(t, start2020).Root }, refused},
		"key":                   {func(string) string { return key }, "contains a private key"},
		"key before it":         {func(d string) string { return key + armor("PKCS7", d) }, "contains a private key"},
		"key after it":          {func(d string) string { return armor("PKCS7", d) + key }, "contains a private key"},
		"key in Base64":         {func(string) string { return base([]byte(key)...) }, "contains a private key"},
		"key in DER, in Base64": {func(string) string { return strings.Join(strings.Split(strings.TrimSpace(key), "\n")[1:3], "") }, refused},
		"encrypted data": {
			func(string) string { return base(element(slices.Concat(signed[:10], []byte{6}, signed[11:])...)...) }, refused,
		},
		"something behind it": {func(string) string { return base(append(element(signed...), 4, 1, 7)...) }, refused},
		"longer than it is": {
			func(string) string { return base(append([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, signed...)...) }, refused,
		},
		"no length":                {func(string) string { return base(0x30) }, refused},
		"half a length":            {func(string) string { return base(0x30, 0x83, 1) }, refused},
		"indefinite without end":   {func(string) string { return base(append([]byte{0x30, 0x80}, signed...)...) }, refused},
		"nested deep, without end": {func(string) string { return base([]byte(strings.Repeat("\x30\x80", 20_000))...) }, refused},
		// The token endpoint refuses these: AWS and OpenSSL write indefinite lengths.
		"indefinite": {func(string) string { return base(slices.Concat([]byte{0x30, 0x80}, signed, []byte{0, 0})...) }, unsigned},
		"indefinite inside": {func(string) string {
			return base(element(slices.Concat(signed[:11], []byte{0xa0, 0x80, 0x30, 0x80, 0, 0, 0, 0})...)...)
		}, "the signature of the PKCS#7 document is not valid"},
	} {
		for _, from := range []string{"file", "metadata service"} {
			synctest.Test(t, func(t *testing.T) {
				a, ecs, identity := newPKCS7(t, simulator.Config{})
				text := tt.text(ecs.Sign(audience("idaas_simulator", time.Now())))
				identity.Metadata = roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodPut {
						return newResponse(200, "session"), nil
					}
					return newResponse(200, text), nil
				})
				if from == "metadata service" && name == "much too long" {
					tt.refused = "longer than 16 MiB"
				}
				if from == "file" {
					identity.Document.File = newFile(t, []byte(text))
				}
				var forms []url.Values
				r := a.poll(t, a.client(by(identity), a.received(&forms)), a.fill(1, 4)...)[0]
				if tt.refused == "" {
					a.checkCounts(t, r)
					if der, err := base64.StdEncoding.DecodeString(forms[0].Get("client_assertion")); err != nil || len(forms) != 1 || der[0] != 0x30 {
						t.Errorf("%s, %s: received %q", from, name, forms)
					}
					return
				}
				if !refusedBy(r, tt.refused) || strings.ContainsAny(r.Failure.Text, "\n<") {
					t.Errorf("%s, %s: %+v", from, name, r.Failure)
					return
				}
				checkHidden(t, []string{key}, forms, r.Failure.Text, a.log.String())
				if sent := tt.refused == unsigned; sent != (len(forms) > 0) {
					t.Errorf("%s, %s: received %q", from, name, forms)
				}
			})
		}
	}
}

// An ID token, secret or access token that is a private key is not sent. An ID token that is no JWT is not sent.
func TestWhatIsNoToken(t *testing.T) {
	key := identities.PrivateKey(t, ecKey(t, elliptic.P256()))
	for name, tt := range map[string]struct{ text, refused string }{
		"words":             {"none", "is not a JWT"},
		"two parts":         {"eyJhbGciOiJFUzI1NiJ9.e30", "is not a JWT"},
		"five parts":        {"eyJhbGciOiJFUzI1NiJ9.e30.a.b.c", "is not a JWT"},
		"no Base64":         {"eyJhbGciOiJFUzI1NiJ9.???.AAAA", "is not a JWT"},
		"no JSON":           {"AAAA.AAAA.AAAA", "is not a JWT"},
		"a login page":      {"<html>", "is not a JWT"},
		"a JWK":             {`{"kty":"EC","d":"AAAA"}`, "is not a JWT"},
		"a key":             {key, "line break"},
		"a key on one line": {breaks(key, " "), "contains a private key"},
		"an escaped key":    {breaks(key, `\n`), "contains a private key"},
	} {
		methods := []string{"oidc"}
		if strings.Contains(name, "key") {
			methods = []string{"oidc", "client_secret_post", "client_secret_basic", "ready"}
		}
		for _, method := range methods {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				file := auth.Credential{File: newFile(t, []byte(tt.text))}
				option := by(auth.Identity{Method: method, Secret: file, IDToken: file, FederatedCredential: "pods"})
				if method == "ready" {
					option = ready(file)
				}
				r := a.poll(t, a.client(option), a.fill(1, 1)...)[0]
				if !refusedBy(r, tt.refused) || !strings.Contains(r.Failure.Text, file.File) {
					t.Errorf("%s: %s: %+v", method, name, r.Failure)
				} else {
					checkHidden(t, []string{key, tt.text}, nil, r.Failure.Text)
				}
				if n := a.Requests(""); n != 0 {
					t.Errorf("%s: %s: %d requests", method, name, n)
				}
			})
		}
	}
}
