package idaas

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// This decoder was used before the current one: slower, but simple. Both must accept and refuse the same bodies.

// plainWirePage is a response of the list call, with the fields used. A null field counts as absent.
type plainWirePage struct {
	Entities   []plainWireToken `json:"entities"`
	TotalCount *wireCount       `json:"totalCount"`
	NextToken  string           `json:"nextToken"`
	Error      string           `json:"error"` // of an error object, whatever else it has

	Entities2   otherSpelling `json:"_entities,case:ignore"`
	TotalCount2 otherSpelling `json:"_totalCount,case:ignore"`
	NextToken2  otherSpelling `json:"_nextToken,case:ignore"`
	Error2      otherSpelling `json:"_error,case:ignore"`
}

type plainWireToken struct {
	ID           string `json:"authenticationTokenId"`
	Revoked      bool   `json:"revoked"`
	Expires      int64  `json:"expirationTime"`
	Created      int64  `json:"createTime"`
	Updated      int64  `json:"updateTime"`
	ProviderID   string `json:"credentialProviderId"`
	Type         string `json:"authenticationTokenType"`
	ConsumerType string `json:"consumerType"`

	ID2           otherSpelling `json:"_authenticationTokenId,case:ignore"`
	Revoked2      otherSpelling `json:"_revoked,case:ignore"`
	Expires2      otherSpelling `json:"_expirationTime,case:ignore"`
	Created2      otherSpelling `json:"_createTime,case:ignore"`
	Updated2      otherSpelling `json:"_updateTime,case:ignore"`
	ProviderID2   otherSpelling `json:"_credentialProviderId,case:ignore"`
	Type2         otherSpelling `json:"_authenticationTokenType,case:ignore"`
	ConsumerType2 otherSpelling `json:"_consumerType,case:ignore"`
}

// decodeByStructs decodes a page and its nextToken, and appends the tokens to tokens. A body that may not be a page is an error, never an
// empty page.
func decodeByStructs(body []byte, tokens []poller.Token) (poller.Page, string, error) {
	var w plainWirePage
	if err := json.Unmarshal(body, &w); err != nil {
		return poller.Page{}, "", err
	}
	page := poller.Page{Tokens: tokens, Total: -1}
	if w.TotalCount != nil && *w.TotalCount >= 0 {
		page.Total = int64(*w.TotalCount)
	}
	if w.Error != "" || len(w.Entities) == 0 && parseError(body).code != "" {
		return poller.Page{}, "", errors.New("an error instead of a page")
	}
	if w.Entities == nil && page.Total != 0 {
		return poller.Page{}, "", errors.New("neither entities nor a totalCount of 0")
	}
	for i, t := range w.Entities {
		if t.ID == "" {
			return poller.Page{}, "", fmt.Errorf("entities[%d] has no authenticationTokenId", i)
		}
		page.Tokens = append(page.Tokens, poller.Token{
			ID:      t.ID,
			Revoked: t.Revoked,
			Expires: millis(t.Expires),
			Created: millis(t.Created),
			Updated: millis(t.Updated),
			Info: poller.Info{
				ProviderID:   clean(t.ProviderID),
				TokenType:    clean(t.Type),
				ConsumerType: clean(t.ConsumerType),
			},
		})
	}
	return page, w.NextToken, nil
}

// decodePage decodes a single page and appends its tokens to tokens.
func decodePage(body []byte, tokens []poller.Token) (poller.Page, string, error) {
	page, next, err := new(decoder).read(body)
	if err == nil {
		page.Tokens = append(tokens, page.Tokens...)
	}
	return page, next, err
}

// sameAsByStructs fails unless both decoders return the same for a body.
func sameAsByStructs(t *testing.T, body []byte) {
	t.Helper()
	got, next, err := decodePage(body, nil)
	want, wantNext, wantErr := decodeByStructs(body, nil)
	if (err == nil) != (wantErr == nil) || next != wantNext || got.Total != want.Total || !slices.Equal(got.Tokens, want.Tokens) {
		t.Errorf("%.300q:\n got %+v, next %q, %v\nwant %+v, next %q, %v", body, got, next, err, want, wantNext, wantErr)
	}
}
