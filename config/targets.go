package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	maxTargets       = 100_000
	maxConsumerBytes = 512
	maxTargetFaults  = 1000
)

// LoadTargets reads IDAAS_TARGETS and, as it is now, the targets file: the targets of c as they would be if it were
// loaded again. It leaves c as it is. The error is of type Faults and never shows a consumer in another form than
// IDAAS_CONSUMER_LABEL asks for.
func (c *Config) LoadTargets() ([]poller.Target, error) {
	data, _, err := c.readTargetsFile()
	return c.targets(data, err)
}

// readTargetsFile returns also what tells one reading from another that gave other bytes or another error.
func (c *Config) readTargetsFile() (data []byte, read string, err error) {
	if c.TargetsFile == "" {
		return nil, "", nil
	}
	data, err = readFile(c.TargetsFile, maxFileBytes)
	sum := sha256.New()
	fmt.Fprintf(sum, "%s%v", data, err)
	return data, string(sum.Sum(nil)), err
}

// targets returns this process's share of IDAAS_TARGETS and of the targets file, whose reading gave data and err.
func (c *Config) targets(data []byte, err error) ([]poller.Target, error) {
	l := targetList{hash: c.ConsumerLabel == "hash", windows: c.Windows}
	l.addInline(c.InlineTargets)
	if err != nil {
		l.fault(Fault{Name: "IDAAS_TARGETS_FILE", Value: c.TargetsFile, Problem: err.Error()})
	} else if c.TargetsFile != "" {
		l.addYAML(c.TargetsFile, data)
	}
	targets := l.targets()
	if len(targets) == 0 && l.faults == nil {
		l.fault(Fault{Name: "IDAAS_TARGETS", Problem: "no target: set it or IDAAS_TARGETS_FILE"})
	}
	if l.faults != nil {
		return nil, l.faults
	}
	return poller.Share(targets, c.ShardIndex, c.ShardCount), nil
}

// targetList gathers entries from all sources, then judges them together.
type targetList struct {
	hash    bool
	windows []poller.Window
	entries []entry
	pairs   int
	faults  Faults
}

// entry is one consumer with some of its providers. What was wrong with it is already among the faults and left empty.
type entry struct {
	consumer, alias located
	providers       []located
	windows         []poller.Window // nil: the global ones
}

// located is a text with the place it stands at: file:line, or an item of the variable.
type located struct{ text, at string }

func (l *targetList) fault(f Fault) { l.faults = append(l.faults, f) }

func (l *targetList) addInline(text string) {
	for i, item := range splitList(text) {
		at := fmt.Sprintf("IDAAS_TARGETS item %d", i+1)
		colon := strings.LastIndex(item, ":")
		if colon < 0 {
			if l.hash {
				item = ""
			}
			l.fault(Fault{Name: at, Value: item, Problem: "no colon", Accepts: "consumerId:credentialProviderIdentifier"})
			continue
		}
		l.add(entry{
			consumer:  l.consumer("consumer", located{strings.TrimSpace(item[:colon]), at}),
			providers: []located{l.provider(located{strings.TrimSpace(item[colon+1:]), at})},
		})
	}
}

func (l *targetList) add(e entry) {
	l.entries = append(l.entries, e)
	l.pairs += len(e.providers)
}

// consumer returns text if it can be a consumer's id or alias; otherwise nothing, and a fault is noted.
func (l *targetList) consumer(what string, text located) located {
	problem := ""
	switch {
	case text.text == "":
		problem = "empty"
	case len(text.text) > maxConsumerBytes:
		problem = fmt.Sprintf("longer than %d bytes", maxConsumerBytes)
	case !utf8.ValidString(text.text):
		problem = "not valid UTF-8"
	case strings.ContainsFunc(text.text, unicode.IsControl):
		problem = "contains a control character"
	default:
		return text
	}
	l.fault(Fault{Name: text.at, Problem: what + " " + problem})
	return located{}
}

// provider returns text if it can be a credential provider's identifier; otherwise nothing, and a fault is noted.
func (l *targetList) provider(text located) located {
	if isIdentifier(text.text) {
		return text
	}
	l.fault(Fault{
		Name: text.at, Value: text.text, Problem: "not a credential provider identifier",
		Accepts: "1 to 64 letters, digits and . - _",
	})
	return located{}
}

// targets returns what the entries say together: an alias holds for all entries of its consumer.
func (l *targetList) targets() []poller.Target {
	aliases := make(map[string]located)
	for _, e := range l.entries {
		if e.consumer.text == "" || e.alias.text == "" {
			continue
		}
		if first, ok := aliases[e.consumer.text]; !ok {
			aliases[e.consumer.text] = e.alias
		} else if first.text != e.alias.text {
			l.fault(Fault{Name: e.alias.at, Value: e.alias.text, Problem: fmt.Sprintf("the same consumer has the alias %q at %s", first.text, first.at)})
		}
	}

	type shown struct{ label, provider string }
	type holder struct{ consumer, at string }
	holders := make(map[shown]holder)
	var targets []poller.Target
	for _, e := range l.entries {
		label := aliases[e.consumer.text].text
		if label == "" {
			label = l.label(e.consumer.text)
		}
		windows := e.windows
		if windows == nil {
			windows = l.windows
		}
		for _, p := range e.providers {
			if e.consumer.text == "" || p.text == "" {
				continue
			}
			key := shown{label, p.text}
			if first, ok := holders[key]; ok {
				problem := "given for this consumer already at "
				if first.consumer != e.consumer.text {
					problem = fmt.Sprintf("another consumer is shown as %q too, at ", label)
				}
				l.fault(Fault{Name: p.at, Value: p.text, Problem: problem + first.at})
				continue
			}
			holders[key] = holder{e.consumer.text, p.at}
			targets = append(targets, poller.Target{Consumer: e.consumer.text, Provider: p.text, Label: label, Windows: windows})
		}
	}
	return targets
}

func (l *targetList) label(consumer string) string {
	if !l.hash {
		return consumer
	}
	sum := sha256.Sum256([]byte(consumer))
	return hex.EncodeToString(sum[:6])
}
