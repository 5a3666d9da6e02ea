package check

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Status is how a finding turned out.
type Status string

// Every Status.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Finding is one line of the table. Its texts are printable, one line each, and hold no secret and no raw consumer id.
type Finding struct {
	Status  Status `json:"status"`
	Step    string `json:"step"`
	Subject string `json:"subject"` // what of the step: a target, a client, …; may be empty
	Detail  string `json:"detail"`  // what was found
	Advice  string `json:"advice"`  // what to do; empty when ok or skipped
}

// Report is what a Run found.
type Report struct{ Findings []Finding }

// Failed reports whether anything did.
func (r Report) Failed() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Status == Failed })
}

// JSON writes the report for machines: {"failed": …, "findings": […]}.
func (r Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Failed   bool      `json:"failed"`
		Findings []Finding `json:"findings"`
	}{r.Failed(), r.Findings})
}

const (
	tableWidth = 118
	maxSubject = 40 // longer ones stick out
)

// Table writes the report for people.
func (r Report) Table(w io.Writer) error {
	rows := append([]Finding{{Status: "STATUS", Step: "STEP", Subject: "SUBJECT", Detail: "FOUND"}}, r.Findings...)
	subject := 0
	for _, f := range rows {
		subject = min(maxSubject, max(subject, utf8.RuneCountInString(f.Subject)))
	}
	var out strings.Builder
	advised := ""
	for _, f := range rows {
		head := fmt.Sprintf("%-8s  %-*s  %-*s  ", f.Status, len(stepWays), f.Step, subject, f.Subject)
		for _, part := range wrap(f.Detail, tableWidth-8-len(stepWays)-subject-6) {
			out.WriteString(strings.TrimRight(head+part, " ") + "\n")
			head = strings.Repeat(" ", 8+len(stepWays)+subject+6)
		}
		if f.Advice == "" {
			continue
		}
		head = "          → "
		text := f.Advice
		if text == advised {
			text = "as above"
		}
		advised = f.Advice
		for _, part := range wrap(text, tableWidth-12) {
			out.WriteString(head + part + "\n")
			head = "            "
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// wrap breaks text between words, so that lines are at most width long if the words are.
func wrap(text string, width int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case utf8.RuneCountInString(*last)+1+utf8.RuneCountInString(word) > width:
			lines = append(lines, word)
		default:
			*last += " " + word
		}
	}
	return lines
}
