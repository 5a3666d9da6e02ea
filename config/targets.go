package config

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// readTargetsFile also returns a fingerprint of the bytes or the error.
func (c *Config) readTargetsFile() (data []byte, fingerprint string, err error) {
	if c.TargetsFile == "" {
		return c.added, "", nil
	}
	data, err = disk.Read(context.Background(), c.TargetsFile, maxFile)
	return data, fmt.Sprintf("%x %v", sha256.Sum256(data), err), err
}

// AddTargets adds the entries of text, which is like a targets file, if there is none.
func (c *Config) AddTargets(text string) (err error) {
	c.added = []byte(text)
	c.Watch, err = c.watchlist(c.added, nil)
	return err
}

// watchlist parses IDAAS_TARGETS and the targets file. data and err are the result of reading the file.
func (c *Config) watchlist(data []byte, err error) (Watchlist, error) {
	l := targetList{
		path: c.TargetsFile, label: c.ConsumerLabel, aliases: make(map[string]alias), providers: make(map[string]poller.Target),
		schedules: make(map[string]poller.Schedule), merged: make(map[merge]map[string]*yaml.Node),
	}
	l.addInline(c.InlineTargets)
	if err != nil {
		l.fault("IDAAS_TARGETS_FILE", c.TargetsFile, err.Error())
	} else if data != nil || c.TargetsFile != "" {
		l.addFile(data)
	}
	w := l.watchlist()
	if len(l.pairs) == 0 && l.faults == nil {
		l.fault("IDAAS_TARGETS", "", "no target; set it or IDAAS_TARGETS_FILE")
	}
	thresholds := poller.Thresholds{AtRisk: c.AtRisk, AboutToEnd: c.AboutToEnd, LostAfter: c.LostAfter}
	w.defaults = poller.Target{Windows: c.Windows, Thresholds: thresholds}
	w.client, w.index, w.count = c.ClientID, c.ShardIndex, c.ShardCount
	if at := w.discovers(); at != "" && !c.manageable() {
		l.fault("IDAAS_MANAGEMENT_ENDPOINT", "", "required by "+at+", because IDAAS_ENDPOINT contains no region")
	}
	if l.faults != nil {
		return Watchlist{}, l.faults
	}
	return w, nil
}

// targetList collects the pairs and aliases of all sources, before they are checked together.
type targetList struct {
	path      string           // of the file
	label     string           // IDAAS_CONSUMER_LABEL
	aliases   map[string]alias // by consumer
	pairs     []pair
	providers map[string]poller.Target
	schedules map[string]poller.Schedule      // by text
	merged    map[merge]map[string]*yaml.Node // results of mapping
	faults    Faults
}

// merge is the value of a merge key in a mapping with these known keys.
type merge struct {
	from  *yaml.Node
	known string
}

type alias struct{ text, at string }

func (l *targetList) fault(name, value, problem string) {
	l.faults = append(l.faults, Fault{name, value, problem})
}

func (l *targetList) addInline(text string) {
	for i, item := range splitList(text) {
		at := fmt.Sprintf("IDAAS_TARGETS item %d", i+1)
		colon := strings.LastIndex(item, ":")
		if colon < 0 {
			l.fault(at, l.shown(item), "contains no colon; accepted: consumerId:credentialProviderIdentifier")
			continue
		}
		consumer := l.checked(at, "consumer", strings.TrimSpace(item[:colon]))
		l.addNamed(pair{consumer: consumer, provider: strings.TrimSpace(item[colon+1:]), at: at})
	}
}

// shown returns text, which may be a misplaced consumer id, unless consumer ids are hidden.
func (l *targetList) shown(text string) string {
	if l.label == "hash" {
		return ""
	}
	return text
}

// checked returns text if it is valid; otherwise it adds a fault and returns an empty text.
func (l *targetList) checked(at, what, text string) string {
	if err := poller.CheckText(text); err != nil {
		l.fault(at, "", what+" is "+err.Error())
		return ""
	}
	return text
}

// addNamed adds p, unless its provider is invalid.
func (l *targetList) addNamed(p pair) {
	if err := poller.CheckIdentifier(p.provider); err != nil {
		l.fault(p.at, l.shown(p.provider), err.Error())
	} else {
		l.add(p)
	}
}

// add adds p, unless it has no consumer after a fault.
func (l *targetList) add(p pair) {
	if p.consumer != "" || p.consumers.match != nil {
		l.pairs = append(l.pairs, p)
	}
}

// watchlist checks that no two consumers named in the settings are shown as one.
func (l *targetList) watchlist() Watchlist {
	w := Watchlist{aliases: l.aliases, providers: l.providers, label: l.label}
	w.pairs = slices.SortedStableFunc(slices.Values(l.pairs), func(a, b pair) int { return a.rank() - b.rank() })
	labels := w.labels(&poller.Lists{})
	type shown struct{ label, provider string }
	holders := make(map[shown]pair) // without a provider: for all
	for _, p := range slices.SortedStableFunc(slices.Values(w.pairs), func(a, b pair) int {
		return min(1, len(a.provider)) - min(1, len(b.provider))
	}) {
		if p.consumer == "" || p.provider == "" && p.providers.match == nil {
			continue
		}
		label := w.labelOf(p.consumer, labels)
		as := shown{label, p.provider}
		first := holders[as]
		if all := holders[shown{label, ""}]; all.consumer != "" && all.consumer != p.consumer {
			first = all
		}
		switch {
		case first.consumer == "":
			holders[as] = p
		case first.consumer != p.consumer:
			l.fault(p.at, p.provider, fmt.Sprintf("the consumer at %s is also shown as %q", first.at, label))
		case p.provider != "":
			l.fault(p.at, p.provider, "duplicate of the target at "+first.at)
		}
	}
	return w
}

// maxTargets limits targets and faults, because a small file can have very many by YAML aliases.
const maxTargets = 100_000

// addFile adds the targets of a YAML file. It reads nodes instead of structs, so that every fault has a line, and a null in a list is
// a fault.
func (l *targetList) addFile(data []byte) {
	var document, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	err := decoder.Decode(&document)
	if err == nil {
		if err = decoder.Decode(&more); err == nil {
			err = fmt.Errorf("line %d: more than one document", more.Line)
		}
	}
	// The error of the library has no line.
	if i := bytes.IndexFunc(data, unreadable); i >= 0 {
		problem := "not valid UTF-8"
		if r, _ := utf8.DecodeRune(data[i:]); r != utf8.RuneError {
			problem = fmt.Sprintf("the control character %U", r)
		}
		err = fmt.Errorf("line %d: %s", 1+bytes.Count(data[:i], []byte("\n")), problem)
	}
	if err = adviseQuotes(err, data); !errors.Is(err, io.EOF) || document.Content == nil {
		l.fault(l.path, "", strings.NewReplacer("yaml: ", "", "EOF", "empty file").Replace(err.Error()))
		return
	}
	required := 1 - min(1, len(l.pairs))
	fields := l.mapping(document.Content[0], required, "targets", "credential_providers")
	if fields["credential_providers"] != nil {
		l.addProviders(fields["credential_providers"])
	}
	for _, n := range l.list(fields["targets"], "targets") {
		if len(l.pairs)+len(l.faults) > maxTargets {
			l.fault(l.at(n), "", fmt.Sprintf("ignored from here: more than %d targets and faults", maxTargets))
			return
		}
		l.addEntry(n)
	}
}

// unreadable reports whether YAML does not allow r, or r is the replacement of invalid UTF-8.
func unreadable(r rune) bool {
	return r == utf8.RuneError || unicode.IsControl(r) && !strings.ContainsRune("\t\r\n\u0085", r)
}

// addEntry adds a consumer, or those that are found, with its providers.
func (l *targetList) addEntry(n *yaml.Node) {
	fields := l.mapping(n, 1, append([]string{"credential_providers", "consumer", "consumers", "alias"}, ownKeys...)...)
	one, many := fields["consumer"], fields["consumers"]
	p := pair{at: l.at(n), consumer: l.text(one, "consumer"), own: l.own(fields)}
	switch {
	case one == nil && many == nil && fields != nil:
		l.fault(l.at(n), "", "neither consumer nor consumers")
	case one != nil && many != nil:
		l.fault(l.at(many), "", "consumers together with consumer; accepted: one of them")
	}
	if many != nil && many.Kind != yaml.MappingNode && many.Value != "all" {
		l.fault(l.at(many), "", "consumers is neither all nor a mapping with the keys identity, match")
	} else if many != nil {
		p.consumers = l.selector(many, "identity", poller.ApplicationTypes)
	}
	l.addAlias(fields["alias"], p.consumer, many)
	switch providers := fields["credential_providers"]; {
	case providers != nil && (providers.Kind == yaml.MappingNode || providers.Value == "all"):
		p.at, p.providers = l.at(providers), l.selector(providers, "type", poller.ProviderTypes)
		l.add(p)
	case providers != nil && providers.Value == "none":
		l.add(p)
	default:
		for _, item := range l.list(providers, "credential_providers is neither all nor none, it") {
			if p.at, p.provider = l.at(item), l.text(item, "credential provider"); p.provider != "" {
				l.addNamed(p)
			}
		}
	}
}

// addAlias adds the alias of a consumer, which is not one of many.
func (l *targetList) addAlias(n *yaml.Node, consumer string, many *yaml.Node) {
	text := l.text(n, "alias")
	if text == "" {
		return
	}
	switch first := l.aliases[consumer]; {
	case many != nil:
		l.fault(l.at(n), text, "alias together with consumers; accepted: with consumer")
	case strings.HasPrefix(text, "app_"):
		l.fault(l.at(n), text, "an alias that begins with app_, as the ids of applications do; accepted: another one")
	case first.text != "" && first.text != text:
		l.fault(l.at(n), text, fmt.Sprintf("the consumer has the alias %q at %s", first.text, first.at))
	case consumer != "":
		l.aliases[consumer] = alias{text, l.at(n)}
	}
}

// selector parses n, which is all or a mapping of a match and types, one or a list of them.
func (l *targetList) selector(n *yaml.Node, key string, types []string) selector {
	s, fields := selector{at: l.at(n)}, map[string]*yaml.Node(nil)
	if n.Kind == yaml.MappingNode {
		fields = l.mapping(n, 0, key, "match")
	}
	items := []*yaml.Node{fields[key]}
	if fields[key] != nil && fields[key].Kind == yaml.SequenceNode {
		items = l.list(fields[key], key)
	}
	for _, item := range items {
		text := l.text(item, key)
		if text != "" && !slices.Contains(types, text) {
			l.fault(l.at(item), text, "unknown "+key+"; accepted: "+strings.Join(types, ", "))
		}
		if text != "" {
			s.types = append(s.types, text)
		}
	}
	var err error
	if s.match, err = regexp.Compile(l.text(fields["match"], "match")); err != nil {
		l.fault(l.at(fields["match"]), "", err.Error()+"; accepted: a regular expression (RE2)")
	}
	return s
}

func (l *targetList) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", l.path, n.Line) }

// mapping returns the values of n by key; nil after a fault. The first of the known keys are required; without known keys, all keys are
// known. Other keys that begin with x- are ignored. A merge key (<<) adds the values of keys that n does not have.
func (l *targetList) mapping(n *yaml.Node, required int, known ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		l.fault(l.at(n), "", "not a mapping with the keys "+strings.Join(known, ", "))
		return nil
	}
	values := make(map[string]*yaml.Node)
	var merged []*yaml.Node
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case len(known) > 0 && strings.HasPrefix(key.Value, "x-"): // for anchors, as in Compose files
		case key.ShortTag() == "!!merge":
			if from := resolve(n.Content[i+1]); from.Kind == yaml.SequenceNode {
				merged = append(merged, from.Content...)
			} else {
				merged = append(merged, from)
			}
		case len(known) > 0 && !slices.Contains(known, key.Value):
			l.fault(l.at(key), l.shown(key.Value), "unknown key; accepted: "+strings.Join(known, ", "))
		case values[key.Value] != nil:
			l.fault(l.at(key), "", "duplicate key "+key.Value)
		default:
			values[key.Value] = resolve(n.Content[i+1])
		}
	}
	for _, from := range merged {
		from = resolve(from)
		once := merge{from, strings.Join(known, " ")}
		if _, done := l.merged[once]; !done {
			l.merged[once] = nil // ends a circle
			l.merged[once] = l.mapping(from, 0, known...)
		}
		for key, value := range l.merged[once] {
			if values[key] == nil {
				values[key] = value
			}
		}
	}
	for _, key := range known[:required] {
		if values[key] == nil {
			l.fault(l.at(n), "", key+" is missing")
		}
	}
	return values
}

// list returns the items of n; none if it is absent or invalid.
func (l *targetList) list(n *yaml.Node, what string) []*yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		l.fault(l.at(n), "", what+" is not a list with at least one item")
		return nil
	}
	for i, item := range n.Content {
		n.Content[i] = resolve(item)
	}
	return n.Content
}

// text returns n as written, even if YAML treats it as a number; empty if it is absent or invalid.
func (l *targetList) text(n *yaml.Node, what string) string {
	if n == nil {
		return ""
	}
	text := strings.TrimSpace(n.Value)
	if n.ShortTag() == "!!null" {
		text = ""
	}
	return l.checked(l.at(n), what, text)
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
