package config

import (
	"bytes"
	"cmp"
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

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// readTargetsFile also returns a fingerprint of the bytes or the error.
func (c *Config) readTargetsFile() (data []byte, fingerprint string, err error) {
	if c.TargetsFile == "" {
		return nil, "", nil
	}
	data, err = disk.Read(context.Background(), c.TargetsFile, maxFile)
	return data, fmt.Sprintf("%x %v", sha256.Sum256(data), err), err
}

// Watchlist has the targets of IDAAS_TARGETS and the targets file, of all processes.
type Watchlist struct {
	targets      []poller.Target
	all          []pair // consumers at all providers that match
	defaults     poller.Target
	providers    map[string][]option // of all targets of a provider
	index, count int                 // of the shard
}

// Discovers reports whether an entry needs the list of the credential providers.
func (w Watchlist) Discovers() bool { return len(w.all) > 0 }

// Targets returns the targets of this process, each once. found are the credential providers of the instance. More than maxTargets of
// all processes are an error.
func (w Watchlist) Targets(found []poller.Listed) ([]poller.Target, error) {
	targets, have := slices.Clip(w.targets), make(map[poller.Key]bool)
	for _, t := range targets {
		have[t.Key()] = true
	}
	for _, p := range w.all {
		for _, f := range found {
			t := w.target(p, f.Identifier)
			t.Found = true
			if !p.wants(f) || have[t.Key()] {
				continue
			}
			if have[t.Key()], targets = true, append(targets, t); len(targets) > maxTargets {
				return nil, fmt.Errorf("more than %d targets with the discovered credential providers; accepted: up to %[1]d", maxTargets)
			}
		}
	}
	return poller.Share(targets, w.index, w.count), nil
}

// Idle returns the places of entries that match none of found.
func (w Watchlist) Idle(found []poller.Listed) (places []string) {
	for _, p := range w.all {
		if !slices.ContainsFunc(found, p.wants) {
			places = append(places, p.at)
		}
	}
	return places
}

// wants reports whether p, an entry for all providers that match, includes found.
func (p pair) wants(found poller.Listed) bool {
	return (p.kind == "" || found.Type == "" || found.Type == p.kind) && p.match.MatchString(found.Identifier)
}

// watchlist parses IDAAS_TARGETS and the targets file. data and err are the result of reading the file.
func (c *Config) watchlist(data []byte, err error) (Watchlist, error) {
	l := targetList{
		path: c.TargetsFile, hash: c.ConsumerLabel == "hash", aliases: make(map[string]alias), providers: make(map[string][]option),
		schedules: make(map[string]poller.Schedule), merged: make(map[merge]map[string]*yaml.Node),
	}
	l.addInline(c.InlineTargets)
	if err != nil {
		l.fault("IDAAS_TARGETS_FILE", c.TargetsFile, err.Error())
	} else if c.TargetsFile != "" {
		l.addFile(data)
	}
	thresholds := poller.Thresholds{AtRisk: c.AtRisk, AboutToEnd: c.AboutToEnd, LostAfter: c.LostAfter}
	w := l.watchlist(poller.Target{Windows: c.Windows, Thresholds: thresholds})
	if len(l.pairs)+len(l.all) == 0 && l.faults == nil {
		l.fault("IDAAS_TARGETS", "", "no target; set it or IDAAS_TARGETS_FILE")
	}
	if len(l.all) > 0 && !c.manageable() {
		l.fault("IDAAS_MANAGEMENT_ENDPOINT", "", "required by credential_providers: all, because IDAAS_ENDPOINT contains no region")
	}
	if l.faults != nil {
		return Watchlist{}, l.faults
	}
	w.index, w.count = c.ShardIndex, c.ShardCount
	return w, nil
}

// targetList collects the pairs and aliases of all sources, before they are checked together.
type targetList struct {
	path      string // of the file
	hash      bool
	aliases   map[string]alias // by consumer
	all       []pair           // without a provider
	pairs     []pair
	providers map[string][]option
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

// pair is a target without label and settings. One without a provider is for all providers that match and, if there is a kind, have it.
type pair struct {
	poller.Target
	at      string
	kind    string
	match   *regexp.Regexp
	options []option
}

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
		l.add(pair{Target: poller.Target{Consumer: consumer, Provider: strings.TrimSpace(item[colon+1:])}, at: at})
	}
}

// shown returns text, which may be a misplaced consumer id, unless consumer ids are hidden.
func (l *targetList) shown(text string) string {
	if l.hash {
		return ""
	}
	return text
}

// checked returns text if it is valid; otherwise it adds a fault and returns an empty text.
func (l *targetList) checked(at, what, text string) string {
	if text == "" || len(text) > 512 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		l.fault(at, "", what+" is not a text of 1 to 512 bytes without control characters")
		return ""
	}
	return text
}

// add adds p, unless its consumer is empty after a fault or its provider is invalid.
func (l *targetList) add(p pair) {
	if err := poller.CheckIdentifier(p.Provider); err != nil {
		l.fault(p.at, l.shown(p.Provider), err.Error())
	} else if p.Consumer != "" {
		l.pairs = append(l.pairs, p)
	}
}

func (l *targetList) watchlist(defaults poller.Target) Watchlist {
	w := Watchlist{defaults: defaults, providers: l.providers}
	type shown struct{ label, provider string }
	holders := make(map[shown]pair) // without a provider: for all
	for _, p := range slices.Concat(l.all, l.pairs) {
		p.Label = l.aliases[p.Consumer].text
		if p.Label == "" && l.hash {
			p.Label = fmt.Sprintf("%x", sha256.Sum256([]byte(p.Consumer)))[:12]
		}
		p.Label = cmp.Or(p.Label, p.Consumer)
		as := shown{p.Label, p.Provider}
		first, taken := holders[as]
		if all, ok := holders[shown{p.Label, ""}]; ok && all.Consumer != p.Consumer {
			first, taken = all, true
		}
		switch {
		case p.Provider == "" && (!taken || first.Consumer == p.Consumer):
			holders[as] = p
			w.all = append(w.all, p)
		case taken && first.Consumer == p.Consumer:
			l.fault(p.at, p.Provider, "duplicate of the target at "+first.at)
		case taken:
			l.fault(p.at, p.Provider, fmt.Sprintf("the consumer at %s is also shown as %q", first.at, p.Label))
		default:
			holders[as], w.targets = p, append(w.targets, w.target(p, p.Provider))
		}
	}
	return w
}

// maxTargets limits targets and faults, because a small file can have very many by YAML aliases.
const maxTargets = 100_000

// addFile adds the targets of a YAML file. It reads nodes instead of structs, so that every fault has a line, and a null in a list is
// a fault.
func (l *targetList) addFile(data []byte) {
	if jsontext.Value(data).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
		data = jsonAsYAML(data)
	}
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
		if len(l.pairs)+len(l.all)+len(l.faults) > maxTargets {
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

// escapes matches the escapes of JSON; a surrogate pair is one match.
var escapes = regexp.MustCompile(`\\(u[dD][89abAB][[:xdigit:]]{2}\\u[dD][c-fC-F][[:xdigit:]]{2}|.)`)

// jsonAsYAML replaces what the YAML library does not accept and keeps the lines: tabs between values, escaped slashes, surrogate
// pairs.
func jsonAsYAML(data []byte) []byte {
	return escapes.ReplaceAllFunc(bytes.ReplaceAll(data, []byte("\t"), []byte(" ")), func(escape []byte) []byte {
		if len(escape) == 2 && escape[1] != '/' {
			return escape
		}
		text, _ := jsontext.AppendUnquote(nil, `"`+string(escape)+`"`) // valid, because it matches
		return text
	})
}

// addEntry adds a consumer with its providers.
func (l *targetList) addEntry(n *yaml.Node) {
	fields := l.mapping(n, 2, append([]string{"consumer", "credential_providers", "alias"}, ownKeys...)...)
	consumer := l.text(fields["consumer"], "consumer")
	if text := l.text(fields["alias"], "alias"); text != "" && consumer != "" {
		first, at := l.aliases[consumer], l.at(fields["alias"])
		if first.text != "" && first.text != text {
			l.fault(at, text, fmt.Sprintf("the consumer has the alias %q at %s", first.text, first.at))
		} else {
			l.aliases[consumer] = alias{text, at}
		}
	}
	options := l.options(fields)
	target, providers := poller.Target{Consumer: consumer}, fields["credential_providers"]
	if providers != nil && (providers.Kind == yaml.MappingNode || providers.Value == "all") {
		l.addAll(providers, pair{Target: target, options: options})
		return
	}
	for _, item := range l.list(providers, "credential_providers is not all, it") {
		if target.Provider = l.text(item, "credential provider"); target.Provider != "" {
			l.add(pair{Target: target, at: l.at(item), options: options})
		}
	}
}

// addAll adds p at all providers that match n, which is all or a mapping.
func (l *targetList) addAll(n *yaml.Node, p pair) {
	var fields map[string]*yaml.Node
	if n.Kind == yaml.MappingNode {
		fields = l.mapping(n, 0, "type", "match")
	}
	p.at, p.kind = l.at(n), l.text(fields["type"], "type")
	if p.kind != "" && !slices.Contains(poller.ProviderTypes, p.kind) {
		l.fault(l.at(fields["type"]), p.kind, "unknown type of credential provider; accepted: "+strings.Join(poller.ProviderTypes, ", "))
	}
	var err error
	if p.match, err = regexp.Compile(l.text(fields["match"], "match")); err != nil {
		l.fault(l.at(fields["match"]), "", err.Error())
	}
	if p.Consumer != "" {
		l.all = append(l.all, p)
	}
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
	switch {
	case n == nil:
		return ""
	case n.ShortTag() == "!!null":
		return l.checked(l.at(n), what, "")
	}
	return l.checked(l.at(n), what, strings.TrimSpace(n.Value))
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
