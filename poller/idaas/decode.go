package idaas

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// decoder reads pages, token by token: with 3 allocations a page instead of 110, which is most of what a walk computes. What
// it needs for one page it uses again for the next.
type decoder struct {
	in     jsontext.Decoder
	body   bytes.Buffer
	page   vocabulary
	token  vocabulary
	labels map[string]string // by how they are quoted

	tokens []poller.Token
	ids    []byte // of all tokens, one after the other
	ends   []int  // of each in ids

	inSeconds int    // tokens of the page whose expirationTime is
	end       string // of a list, how the page tells it: absent, null or empty; empty: it does not
}

func newDecoder() *decoder {
	return &decoder{
		page: vocabulary{[]string{"entities", "totalCount", "nextToken", "error"}, map[string]bool{}},
		token: vocabulary{[]string{
			"authenticationTokenId", "revoked", "expirationTime", "createTime", "updateTime", "credentialProviderId", "authenticationTokenType", "consumerType",
		}, map[string]bool{}},
		labels: map[string]string{},
	}
}

// vocabulary is the names that are used of an object.
type vocabulary struct {
	used   []string
	others map[string]bool // seen, and none of these in another spelling
}

// maxSeen bounds what is kept of texts that an API may send: each has few, if it is none that makes them up.
const maxSeen = 200

// pass passes over a member of that name. A used one in another case, or with underscores, is an error: passed over, it
// would let a token never expire.
func (d *decoder) pass(v vocabulary, name []byte) error {
	if !v.others[string(name)] {
		plain := strings.NewReplacer("_", "", "-", "").Replace(string(name))
		for _, used := range v.used {
			if strings.EqualFold(plain, used) {
				return fmt.Errorf("%q is %s in another spelling", name, used)
			}
		}
		if len(v.others) < maxSeen && len(name) < maxText {
			v.others[string(name)] = true
		}
	}
	return d.in.SkipValue()
}

// read reads a page and its nextToken, good until the next is read. An answer that is not surely a page is an error, never
// an empty page. A null member counts as absent.
func (d *decoder) read(body []byte) (poller.Page, string, error) {
	d.body = *bytes.NewBuffer(body)
	d.in.Reset(&d.body)
	d.tokens, d.ids, d.ends, d.inSeconds, d.end = d.tokens[:0], d.ids[:0], d.ends[:0], 0, "absent"
	total, next, listed, failed := int64(-1), "", false, false
	err := d.object(func(name []byte) (err error) {
		switch string(name) {
		case "entities":
			listed, err = d.entities()
		case "totalCount":
			if d.in.PeekKind() == 'n' {
				return d.in.SkipValue()
			}
			total, err = d.number()
			total = max(total, -1)
		case "nextToken":
			if d.end = ""; d.in.PeekKind() == 'n' {
				d.end = "null"
			}
			var quoted []byte
			if quoted, err = d.text(); err == nil {
				quoted, err = jsontext.AppendUnquote(nil, quoted)
			}
			if next = string(quoted); next == "" && d.end == "" {
				d.end = "empty"
			}
		case "error":
			var quoted []byte
			quoted, err = d.text()
			failed = len(quoted) > len(`""`)
		default:
			err = d.pass(d.page, name)
		}
		return err
	})
	if err == nil {
		_, err = d.in.ReadToken()
		if err == nil {
			err = errors.New("more than one object")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	switch {
	case err != nil:
	case failed || len(d.tokens) == 0 && parseError(body).code != "":
		err = errors.New("an error instead of a page")
	case !listed && total != 0:
		err = errors.New("neither entities nor a totalCount of 0")
	}
	if err != nil {
		return poller.Page{}, "", err
	}
	// One text for all ids, instead of one for each.
	ids, start := string(d.ids), 0
	for i, end := range d.ends {
		d.tokens[i].ID, start = ids[start:end], end
	}
	return poller.Page{Tokens: d.tokens, Total: total}, next, nil
}

// object reads an object, member by member: once a name is read, member reads its value.
func (d *decoder) object(member func(name []byte) error) error {
	t, err := d.in.ReadToken()
	if err == nil && t.Kind() != '{' {
		err = d.not("an object", t.Kind())
	}
	for err == nil && d.in.PeekKind() != '}' {
		var name []byte
		if name, err = d.in.ReadValue(); err != nil {
			break
		}
		if bytes.IndexByte(name, '\\') < 0 {
			name = name[1 : len(name)-1]
		} else if name, err = jsontext.AppendUnquote(nil, name); err != nil {
			break
		}
		err = member(name)
	}
	if err == nil {
		_, err = d.in.ReadToken()
	}
	return err
}

// entities reads the tokens of a page and reports whether there is a list.
func (d *decoder) entities() (bool, error) {
	t, err := d.in.ReadToken()
	if err != nil || t.Kind() == 'n' {
		return false, err
	}
	if t.Kind() != '[' {
		return false, d.not("a list", t.Kind())
	}
	for d.in.PeekKind() != ']' {
		if err := d.entity(); err != nil {
			return false, err
		}
	}
	_, err = d.in.ReadToken()
	return true, err
}

func (d *decoder) entity() error {
	var t poller.Token
	var created, updated int64
	before := len(d.ids)
	err := d.object(func(name []byte) (err error) {
		switch string(name) {
		case "authenticationTokenId":
			var quoted []byte
			if quoted, err = d.text(); err == nil {
				d.ids, err = jsontext.AppendUnquote(d.ids, quoted)
			}
		case "revoked":
			t.Revoked, err = d.flag()
		case "expirationTime":
			var sent int64
			sent, err = d.number()
			if t.Expires = millis(sent); t.Expires > sent && sent > 0 {
				d.inSeconds++
			}
		case "createTime":
			created, err = d.number()
		case "updateTime":
			updated, err = d.number()
		case "credentialProviderId":
			t.Info.ProviderID, err = d.label()
		case "authenticationTokenType":
			t.Info.TokenType, err = d.label()
		case "consumerType":
			t.Info.ConsumerType, err = d.label()
		default:
			err = d.pass(d.token, name)
		}
		return err
	})
	if err == nil && len(d.ids) == before {
		err = fmt.Errorf("entities[%d] has no authenticationTokenId", len(d.tokens))
	}
	t.Issued = max(millis(created), millis(updated))
	d.tokens, d.ends = append(d.tokens, t), append(d.ends, len(d.ids))
	return err
}

// not is the error of a value of another kind than it should be.
func (d *decoder) not(wanted string, k jsontext.Kind) error {
	return fmt.Errorf("%s: not %s, but %s", d.in.StackPointer(), wanted, k)
}

var noText = []byte(`""`)

// text reads a text as it is quoted.
func (d *decoder) text() ([]byte, error) {
	v, err := d.in.ReadValue()
	switch {
	case err != nil || v.Kind() == '"':
		return v, err
	case v.Kind() == 'n':
		return noText, nil
	}
	return nil, d.not("a text", v.Kind())
}

func (d *decoder) number() (int64, error) {
	t, err := d.in.ReadToken()
	switch {
	case err != nil || t.Kind() == 'n':
		return 0, err
	case t.Kind() != '0':
		return 0, d.not("a number", t.Kind())
	}
	n, err := t.Int()
	if err != nil {
		err = fmt.Errorf("%s: not a whole number of 64 bits", d.in.StackPointer())
	}
	return n, err
}

func (d *decoder) flag() (bool, error) {
	t, err := d.in.ReadToken()
	switch {
	case err != nil:
		return false, err
	case t.Kind() != 't' && t.Kind() != 'f' && t.Kind() != 'n':
		return false, d.not("true or false", t.Kind())
	}
	return t.Kind() == 't', nil
}

// label reads a text that is to be the value of a label: one string for all tokens that have it.
func (d *decoder) label() (string, error) {
	quoted, err := d.text()
	if err != nil {
		return "", err
	}
	if text, ok := d.labels[string(quoted)]; ok {
		return text, nil
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	fit := label(string(text))
	if len(d.labels) < maxSeen && len(quoted) < maxText {
		d.labels[string(quoted)] = fit
	}
	return fit, err
}

// millis reads a time of the API: documented as milliseconds, but one vendor source says seconds. Zero or less is none.
func millis(v int64) int64 {
	const secondsBelow = 1e12 // the year 33658 in seconds, 2001 in milliseconds
	switch {
	case v <= 0:
		return 0
	case v < secondsBelow:
		return v * 1000
	}
	return v
}

// label makes a text of the API fit to be a label value; most are as they come, and there is one for each token.
func label(s string) string {
	if s = strings.TrimSpace(s); len(s) <= maxText && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	return scrubber{}.clean(s)
}
