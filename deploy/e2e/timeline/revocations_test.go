package timeline

var revocations = []Scenario{
	{
		Name:  "revocation",
		Story: "One of two tokens is revoked; then the last, by mistake, and reinstated; then many in an hour.",
		Lasts: 9 * hour,
		Play: func(w *World) {
			one := w.Issue("billing:crm_oauth", -10*day, 30*day)
			two := w.Issue("billing:crm_oauth", -5*day, 30*day)
			w.Issue("fine:crm_oauth", -5*day, 30*day)
			w.At(hour, "one of the two tokens of billing is revoked", func() { w.API.Revoke(one) })
			w.At(2*hour, "the other is revoked", func() { w.API.Revoke(two) })
			w.At(3*hour, "the other is reinstated", func() { w.API.Reinstate(two) })
			var sessions []string
			for range 30 {
				sessions = append(sessions, w.Issue("sessions:crm_oauth", -day, 30*day))
			}
			w.At(4*hour, "25 of 30 tokens of sessions are revoked", func() {
				for _, id := range sessions[:25] {
					w.API.Revoke(id)
				}
			})
			w.At(6*hour, "all others of everybody are revoked", func() {
				for _, id := range append(sessions[25:], two) {
					w.API.Revoke(id)
				}
			})
			w.At(8*hour, "sessions has a new one", func() { w.Issue("sessions:crm_oauth", w.Now(), 30*day) })
		},
	},
}
