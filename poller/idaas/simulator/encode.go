package simulator

import (
	"encoding/json"
	"strconv"
	"time"
)

// alteration is a change of one member of the JSON objects in a response.
type alteration struct {
	field string
	drop  bool
	twice bool
	value string // instead of the correct one
	extra string // members added to every object
}

type encoder struct {
	alteration
	requestID string
	buf       []byte
	scratch   []byte
}

func (e *encoder) open() {
	e.comma()
	e.buf = append(e.buf, '{')
}

func (e *encoder) end() {
	if e.extra != "" {
		e.comma()
		e.buf = append(e.buf, e.extra...)
	}
	e.buf = append(e.buf, '}')
}

func (e *encoder) comma() {
	if n := len(e.buf); n > 0 && e.buf[n-1] != '{' && e.buf[n-1] != '[' {
		e.buf = append(e.buf, ',')
	}
}

func (e *encoder) name(name string) {
	e.comma()
	e.buf = append(e.buf, '"')
	e.buf = append(e.buf, name...)
	e.buf = append(e.buf, `":`...)
}

func (e *encoder) raw(name, value string) {
	e.scratch = append(e.scratch[:0], value...)
	e.member(name)
}

func (e *encoder) int(name string, value int64) {
	e.scratch = strconv.AppendInt(e.scratch[:0], value, 10)
	e.member(name)
}

func (e *encoder) text(name, value string) {
	e.scratch = appendText(e.scratch[:0], value)
	e.member(name)
}

func (e *encoder) time(name string, t time.Time) {
	if !t.IsZero() {
		e.int(name, t.UnixMilli())
	}
}

// member writes the value in scratch, or its alteration.
func (e *encoder) member(name string) {
	if name == e.field {
		switch {
		case e.drop:
			return
		case e.value != "":
			e.scratch = append(e.scratch[:0], e.value...)
		case e.twice:
			e.name(name)
			e.buf = append(e.buf, e.scratch...)
		}
	}
	e.name(name)
	e.buf = append(e.buf, e.scratch...)
}

func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string never fails
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

func (e *encoder) token(instance, consumer string, t *Token, seconds bool) {
	e.open()
	e.text("instanceId", instance)
	e.text("authenticationTokenId", t.ID)
	e.text("credentialProviderId", t.ProviderID)
	e.time("createTime", t.Created)
	e.time("updateTime", t.Updated)
	e.text("authenticationTokenType", t.Type)
	switch {
	case t.Revoked:
		e.raw("revoked", "true")
	case t.RevokedAs == AsNull:
		e.raw("revoked", "null")
	case t.RevokedAs == AsUsual:
		e.raw("revoked", "false")
	}
	e.text("creatorType", t.CreatorType)
	e.text("creatorId", t.CreatorID)
	e.text("consumerType", t.ConsumerType)
	e.text("consumerId", consumer)
	switch {
	case !t.Expires.IsZero() && seconds:
		e.int("expirationTime", t.Expires.Unix())
	case !t.Expires.IsZero():
		e.int("expirationTime", t.Expires.UnixMilli())
	case t.ExpiresAs == AsNull:
		e.raw("expirationTime", "null")
	case t.ExpiresAs == AsZero:
		e.int("expirationTime", 0)
	}
	if t.Extra != "" {
		e.comma()
		e.buf = append(e.buf, t.Extra...)
	}
	e.end()
}
