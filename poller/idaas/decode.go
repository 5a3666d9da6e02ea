package idaas

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// decoder reads pages token by token, and uses again what it needs: a third of the time that decoding into structs takes, with
// 3 allocations a page instead of 180. A member that is null counts as absent.
type decoder struct {
	in          jsontext.Decoder
	body        bytes.Buffer
	err         error // the first
	page, token vocabulary
	labels      map[string]string // by how they are quoted

	tokens []poller.Token
	ids    []byte // of all tokens, one after the other
	ends   []int  // of each in ids
}

// vocabulary is the names that are used of an object.
type vocabulary struct {
	used   []string
	others map[string]bool // seen, and none of these in another spelling
}

// maxSeen bounds what is kept of texts that an API may send: each has few, if it is none that makes them up.
const maxSeen = 200

func newDecoder() *decoder {
	return &decoder{labels: map[string]string{}, page: vocabulary{[]string{"entities", "totalCount", "nextToken", "error"}, map[string]bool{}}, token: vocabulary{[]string{
		"authenticationTokenId", "revoked", "expirationTime", "createTime", "updateTime", "credentialProviderId", "authenticationTokenType", "consumerType",
	}, map[string]bool{}}}
}

// read reads a page and its nextToken, good until the next is read. An answer that is not surely a page is an error, never an
// empty page.
func (d *decoder) read(body []byte) (poller.Page, string, error) {
	d.body = *bytes.NewBuffer(body)
	d.in.Reset(&d.body)
	d.err, d.tokens, d.ids, d.ends = nil, d.tokens[:0], d.ids[:0], d.ends[:0]
	total, next, listed, failed := int64(-1), "", false, false
	for name := range d.object {
		switch string(name) {
		case "entities":
			listed = d.entities()
		case "totalCount":
			if v := d.scalar('0'); v != nil {
				total = max(-1, d.number(v))
			}
		case "nextToken":
			next = string(d.text(nil))
		case "error":
			failed = len(d.text(nil)) > 0
		default:
			d.pass(d.page, name)
		}
	}
	if d.err == nil {
		if _, err := d.in.ReadToken(); !errors.Is(err, io.EOF) {
			d.err = fmt.Errorf("more than one object: %w", err)
		}
	}
	switch {
	case d.err != nil:
	case failed || len(d.tokens) == 0 && parseError(body).code != "":
		d.err = errors.New("an error instead of a page")
	case !listed && total != 0:
		d.err = errors.New("neither entities nor a totalCount of 0")
	}
	if d.err != nil {
		return poller.Page{}, "", d.err
	}
	// One text for all ids, instead of one for each.
	ids, start := string(d.ids), 0
	for i, end := range d.ends {
		d.tokens[i].ID, start = ids[start:end], end
	}
	return poller.Page{Tokens: d.tokens, Total: total}, next, nil
}

// object reads an object and yields the names of its members; their values are to be read before the next.
func (d *decoder) object(yield func(name []byte) bool) {
	for d.open('{'); d.err == nil && d.in.PeekKind() != '}'; {
		name := d.scalar('"')
		if d.err != nil {
			return
		}
		if bytes.IndexByte(name, '\\') < 0 {
			name = name[1 : len(name)-1]
		} else if name, d.err = jsontext.AppendUnquote(nil, name); d.err != nil {
			return
		}
		yield(name)
	}
	d.close()
}

// open reads the begin of an object or list and reports whether there is one, rather than null.
func (d *decoder) open(kind jsontext.Kind) bool {
	t, err := d.in.ReadToken()
	switch {
	case err != nil:
		d.err = err
	case t.Kind() != kind && (t.Kind() != 'n' || kind == '{'):
		d.err = fmt.Errorf("%s: %s instead of %s", d.in.StackPointer(), t.Kind(), kind)
	}
	return d.err == nil && t.Kind() == kind
}

func (d *decoder) close() {
	if d.err == nil {
		_, d.err = d.in.ReadToken()
	}
}

// entities reads the tokens of a page and reports whether there is a list.
func (d *decoder) entities() bool {
	if !d.open('[') {
		return false
	}
	for d.err == nil && d.in.PeekKind() != ']' {
		d.entity()
	}
	d.close()
	return true
}

func (d *decoder) entity() {
	var t poller.Token
	var created, updated int64
	start := len(d.ids)
	for name := range d.object {
		switch string(name) {
		case "authenticationTokenId":
			d.ids = d.text(d.ids)
		case "revoked":
			t.Revoked = d.scalar('t').Kind() == 't'
		case "expirationTime":
			t.Expires = millis(d.number(d.scalar('0')))
		case "createTime":
			created = millis(d.number(d.scalar('0')))
		case "updateTime":
			updated = millis(d.number(d.scalar('0')))
		case "credentialProviderId":
			t.Info.ProviderID = d.label()
		case "authenticationTokenType":
			t.Info.TokenType = d.label()
		case "consumerType":
			t.Info.ConsumerType = d.label()
		default:
			d.pass(d.token, name)
		}
	}
	if d.err == nil && len(d.ids) == start {
		d.err = fmt.Errorf("entities[%d] has no authenticationTokenId", len(d.tokens))
	}
	t.Issued = max(created, updated)
	d.tokens, d.ends = append(d.tokens, t), append(d.ends, len(d.ids))
}

// scalar reads a value of that kind, t for true and false; nil for null or after an error.
func (d *decoder) scalar(kind jsontext.Kind) jsontext.Value {
	v, err := d.in.ReadValue()
	switch k := v.Kind(); {
	case err != nil:
		d.err = err
	case k == kind || k == 'f' && kind == 't':
		return v
	case k != 'n':
		d.err = fmt.Errorf("%s: %s instead of %s", d.in.StackPointer(), k, kind)
	}
	return nil
}

// number returns v, nil or a number, as an integer.
func (d *decoder) number(v jsontext.Value) int64 {
	if v == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		d.err = fmt.Errorf("%s: not a whole number of 64 bits", d.in.StackPointer())
	}
	return n
}

// text reads a text and appends it to what there is.
func (d *decoder) text(before []byte) []byte {
	if v := d.scalar('"'); v != nil {
		before, d.err = jsontext.AppendUnquote(before, v)
	}
	return before
}

// label reads a text that is to be the value of a label: one string for all tokens that have it.
func (d *decoder) label() string {
	quoted := d.scalar('"')
	text, ok := d.labels[string(quoted)]
	if quoted != nil && !ok {
		var long []byte
		long, d.err = jsontext.AppendUnquote(nil, quoted)
		text = label(string(long))
		if len(d.labels) < maxSeen && len(quoted) < maxText {
			d.labels[string(quoted)] = text
		}
	}
	return text
}

// pass passes over a member of that name. A used one in another case, or with underscores, is an error: passed over, it
// would let a token never expire.
func (d *decoder) pass(v vocabulary, name []byte) {
	if !v.others[string(name)] {
		plain := strings.NewReplacer("_", "", "-", "").Replace(string(name))
		for _, used := range v.used {
			if strings.EqualFold(plain, used) {
				d.err = fmt.Errorf("%q is %s in another spelling", name, used)
				return
			}
		}
		if len(v.others) < maxSeen && len(name) < maxText {
			v.others[string(name)] = true
		}
	}
	d.err = d.in.SkipValue()
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
