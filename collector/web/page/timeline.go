package page

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Sizes of a chart in units of its view box.
const (
	chartWidth = 360.0
	chartBase  = 84.0 // bottom of the bars
	chartTop   = 28.0 // top of the highest bar
)

// chart shows how many active tokens expire in each step from now.
type chart struct {
	Title         string
	Bars          []bar
	Ticks         []string
	Total, AtRisk int // tokens in it, and those of endangered targets
}

// bar is one step of a chart in which tokens expire.
type bar struct {
	X, Y, Width, Height, RiskY, RiskHeight, Middle float64

	From, To      time.Duration
	Count, AtRisk int
	Label         string
	Mark          bool // an endangered target has its last token here
}

// Charts are of the matched targets, for the next day, week and month.
func (v *view) Charts() []chart {
	return []chart{
		v.chart("Next 24 hours", time.Hour, 24, "now", "6 h", "12 h", "18 h", "24 h"),
		v.chart("Next 7 days", 6*time.Hour, 28, "now", "1 day", "2", "3", "4", "5", "6", "7 days"),
		v.chart("Next 30 days", 24*time.Hour, 30, "now", "5 days", "10", "15", "20", "25", "30 days"),
	}
}

func (v *view) chart(title string, step time.Duration, steps int, ticks ...string) chart {
	all, risk, marked := make([]int, steps), make([]int, steps), make([]bool, steps)
	for _, r := range v.Matched {
		before := 0
		for i := 0; i < steps && before < r.Active-r.NeverExpiring; i++ {
			n := r.Expiring(time.Duration(i+1) * step)
			all[i] += n - before
			if r.Endangered() {
				risk[i] += n - before
				marked[i] = marked[i] || n > before && n == r.Active
			}
			before = n
		}
	}
	out := chart{Title: title, Ticks: ticks}
	most, width := slices.Max(all), chartWidth/float64(steps)
	for i, n := range all {
		if n == 0 {
			continue
		}
		out.Total, out.AtRisk = out.Total+n, out.AtRisk+risk[i]
		from := time.Duration(i) * step
		b := bar{From: from, To: from + step, Count: n, AtRisk: risk[i], Label: fmt.Sprint(n), Mark: marked[i]}
		b.X, b.Width = float64(i)*width+1, width-2
		if n >= 1000 {
			b.Label = fmt.Sprint(n/1000, "k")
		}
		// Square root: a single token stays visible beside thousands.
		b.Height = max(3, (chartBase-chartTop)*math.Sqrt(float64(n)/float64(most)))
		b.Middle, b.Y = b.X+b.Width/2, chartBase-b.Height
		b.RiskHeight = max(2, b.Height*float64(b.AtRisk)/float64(n)) // visible if there is any
		b.RiskY = chartBase - b.RiskHeight
		out.Bars = append(out.Bars, b)
	}
	return out
}
