package poller

import (
	"testing"
	"time"
)

func TestVerdicts(t *testing.T) {
	const day = 24 * time.Hour
	token := func(issued, expires time.Duration) Token {
		return Token{ID: "a", Created: at(issued), Expires: at(expires)}
	}
	active := func(tokens ...Token) *Census { return count(epoch, nil, tokens...) }
	year := active(token(-300*day, 65*day))
	month := active(token(-20*day, 10*day))
	brief := active(token(0, 15*time.Minute))
	unknown := active(Token{ID: "a", Expires: at(2 * day)})
	ended := active(token(-29*day, day))
	for _, tt := range []struct {
		name     string
		census   *Census
		now      time.Duration
		interval time.Duration
		want     Verdict
	}{
		{"never read", nil, 0, 0, Unknown},
		{"read and empty", active(), 0, time.Hour, Empty},
		{"a year's, before the last seven days", year, 58*day - 1, time.Hour, OK},
		{"a year's, in the last seven days", year, 58 * day, time.Hour, AtRisk},
		{"a month's, before its last fifth", month, 4*day - time.Millisecond, time.Hour, OK},
		{"a month's, in its last fifth", month, 4 * day, time.Hour, AtRisk},
		{"a month's, in its last moment", month, 10*day - time.Millisecond, time.Hour, AtRisk},
		{"no lifetime, before the last day", unknown, day - time.Millisecond, time.Hour, OK},
		{"no lifetime, in the last day", unknown, day, time.Hour, AtRisk},
		{"lives three intervals", brief, 14 * time.Minute, 5 * time.Minute, AtRisk},
		{"lives less than three intervals", brief, 14 * time.Minute, 5*time.Minute + time.Millisecond, OK},
		{"before the first cycle", brief, 14 * time.Minute, 0, AtRisk},
		{"one never expires", active(token(-29*day, day), Token{ID: "never"}), 0, time.Hour, OK},
		{"the latest of two counts", active(token(-29*day, day), Token{ID: "b", Created: at(0), Expires: at(30 * day)}), 0, time.Hour, OK},
		{"ended, not read since", ended, 2 * day, time.Hour, Empty},
		{"ended, read at that moment", count(epoch.Add(day), ended, token(-29*day, day)), 2 * day, time.Hour, Empty},
		{"ended, read since", count(epoch.Add(day+time.Millisecond), ended, token(-29*day, day)), 2 * day, time.Hour, Lost},
		{"ended and cleaned up", count(epoch.Add(2*day), ended), 2 * day, time.Hour, Empty},
		{"revoked", count(epoch.Add(time.Hour), ended, Token{ID: "a", Revoked: true}), time.Hour, time.Hour, Lost},
		{"replaced", count(epoch.Add(2*day), ended, token(-29*day, day), Token{ID: "b", Created: at(day), Expires: at(31 * day)}), 2 * day, time.Hour, OK},
		{"never seen active", active(token(-29*day, -day)), 0, time.Hour, Empty},
		{"brief ones are lost like others", count(epoch.Add(time.Hour), brief, token(0, 15*time.Minute)), time.Hour, time.Hour, Lost},
	} {
		if got := tt.census.Judge(epoch.Add(tt.now), tt.interval); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
