package page

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Sizes of a chart, in units of its view box.
const (
	chartWidth = 360.0
	chartBase  = 84.0 // where the bars stand
	chartTop   = 28.0 // of the highest
)

// chart shows how many active tokens end in the time that lies ahead.
type chart struct {
	Title, Text string
	Spoken      string // in place of the picture
	Bars        []bar
	Ticks       []tick
}

// bar is one step of a chart in which some tokens end.
type bar struct {
	X, Y, Width, Height, RiskY, RiskHeight float64
	Middle                                 float64
	Count, Text                            string
	Mark                                   bool // a target at risk has its last token here
}

type tick struct {
	X    float64
	Text string
}

// Charts are those of the matched targets for the next day, week and month.
func (v *view) Charts() []chart {
	const day = 24 * time.Hour
	return []chart{
		v.chart("Next 24 hours", time.Hour, 24, 6),
		v.chart("Next 7 days", 6*time.Hour, 28, 4),
		v.chart("Next 30 days", day, 30, 5),
	}
}

func (v *view) chart(title string, step time.Duration, steps, tickEach int) chart {
	all, risk, marked := make([]int, steps), make([]int, steps), make([]bool, steps)
	for _, r := range v.matched {
		before := 0
		for i := 0; i < steps && before < r.Active-r.NeverExpiring; i++ {
			n := r.Expiring(time.Duration(i+1) * step)
			all[i] += n - before
			if r.Verdict == poller.AtRisk {
				risk[i] += n - before
				marked[i] = marked[i] || n > before && n == r.Active
			}
			before = n
		}
	}
	out := chart{Title: title}
	total, atRisk, most := 0, 0, 0
	for i, n := range all {
		total, atRisk, most = total+n, atRisk+risk[i], max(most, n)
	}
	width := chartWidth / float64(steps)
	// A root scale: one token of a target that has no other must be seen beside thousands.
	height := func(n int) float64 {
		if n == 0 {
			return 0
		}
		return max(3, (chartBase-chartTop)*math.Sqrt(float64(n)/float64(most)))
	}
	var spoken []string
	for i, n := range all {
		if n == 0 {
			continue
		}
		b := bar{X: float64(i)*width + 1, Width: width - 2, Height: height(n), Count: compact(n), Mark: marked[i]}
		b.Middle, b.Y = b.X+b.Width/2, chartBase-b.Height
		if risk[i] > 0 {
			b.RiskHeight = max(2, b.Height*float64(risk[i])/float64(n))
		}
		b.RiskY = chartBase - b.RiskHeight
		b.Text = fmt.Sprintf("%s to %s: %d", span(time.Duration(i)*step), span(time.Duration(i+1)*step), n)
		if risk[i] > 0 {
			b.Text += fmt.Sprintf(", %d of targets at risk", risk[i])
		}
		if b.Mark {
			b.Text += ", among them the last one of such a target"
		}
		spoken = append(spoken, b.Text)
		out.Bars = append(out.Bars, b)
	}
	for i := 0; i <= steps; i += tickEach {
		out.Ticks = append(out.Ticks, tick{float64(i) * width, span(time.Duration(i) * step)})
	}
	out.Text = fmt.Sprintf("%s ending, %d of targets at risk", count(total, "active token"), atRisk)
	out.Spoken = strings.Join(append([]string{title + ", " + out.Text}, spoken...), "; ")
	return out
}

// span is a whole number of hours or days from now.
func span(d time.Duration) string {
	switch {
	case d == 0:
		return "now"
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("+%d d", int(d.Hours())/24)
	}
	return fmt.Sprintf("+%d h", int(d.Hours()))
}

// compact is a number that fits over a bar.
func compact(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprint(n/1000, "k")
}
