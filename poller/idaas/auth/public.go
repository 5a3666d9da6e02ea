package auth

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Checks of documents that are sent as they were read: only public data may be sent.

var (
	lineBreaks = strings.NewReplacer(`\r`, "\n", `\n`, "\n", "\r", "\n")
	indent     = regexp.MustCompile(`(?m)^[ \t]+`)
	onOneLine  = regexp.MustCompile(`(-----BEGIN [A-Z0-9# ]+-----)(.*?)(-----END [A-Z0-9# ]+-----)`)
	keyMark    = regexp.MustCompile(`(?i)BEGIN[\w ]* PRIVATE +KEY|PuTTY-User-Key-File`)
)

// pemBlocks returns the PEM blocks of text. Line breaks may be spaces or escaped, as in the vendor's SDK.
func pemBlocks(text string) (blocks []*pem.Block) {
	rest := []byte(onOneLine.ReplaceAllString(indent.ReplaceAllString(lineBreaks.Replace(text), ""), "\n$1\n$2\n$3\n"))
	for {
		block, after := pem.Decode(rest)
		if block == nil {
			return blocks
		}
		blocks, rest = append(blocks, block), after
	}
}

// noKey returns an error if text contains a private key in one of the usual text formats.
func noKey(text string) error {
	if keyMark.MatchString(text) {
		return errors.New("contains a private key, which must not be sent; use a file without one")
	}
	return nil
}

// parseCertificates returns the certificates of a PEM text. encoded has these only, not the other parts of the text.
func parseCertificates(text string) (list []*x509.Certificate, encoded string, err error) {
	if err := noKey(text); err != nil {
		return nil, "", err
	}
	for _, block := range pemBlocks(text) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, "", fmt.Errorf("has a CERTIFICATE that cannot be parsed: %w", err)
		}
		list = append(list, c)
		encoded += string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: c.Raw}))
	}
	if list == nil {
		return nil, "", errors.New("has no PEM block CERTIFICATE")
	}
	return list, strings.TrimSpace(encoded), nil
}

// signedData is the object identifier at the start of the content of every PKCS#7 signed document.
var signedData = []byte{0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2}

// signedDocument returns the PKCS#7 signed document of a PEM or Base64 text, as Base64.
func signedDocument(text string) (string, error) {
	ber, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(lineBreaks.Replace(text)), ""))
	if blocks := pemBlocks(text); len(blocks) > 0 {
		ber, err = blocks[0].Bytes, nil
	}
	if key := noKey(text + string(ber)); key != nil {
		return "", key
	}
	if len(text) > maxCredential {
		return "", fmt.Errorf("is longer than %d bytes", maxCredential)
	}
	if err != nil || !isSignedData(ber) {
		return "", errors.New("is not a PKCS#7 signed document; accepted: Base64, with or without PEM armor")
	}
	return base64.StdEncoding.EncodeToString(ber), nil
}

// isSignedData reports whether ber is one element with signed data. Its length may be indefinite, as in documents of AWS and OpenSSL.
func isSignedData(ber []byte) bool {
	if len(ber) < 2 || ber[0] != 0x30 {
		return false
	}
	length, content := int(ber[1]), ber[2:]
	if more := length & 0x7f; length > 0x80 && more <= min(4, len(content)) {
		length = 0
		for _, b := range content[:more] {
			length = length<<8 | int(b)
		}
		content = content[more:]
	}
	complete := length == len(content) || ber[1] == 0x80 && bytes.HasSuffix(content, []byte{0, 0})
	return complete && bytes.HasPrefix(content, signedData)
}
