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

// readTargetsFile returns also what tells one reading from another that gave other bytes or another error.
func (c *Config) readTargetsFile() (data []byte, read string, err error) {
	if c.TargetsFile == "" {
		return nil, "", nil
	}
	data, err = disk.Read(context.Background(), c.TargetsFile, maxFile)
	return data, fmt.Sprintf("%x %v", sha256.Sum256(data), err), err
}

// Watchlist is what IDAAS_TARGETS and the targets file ask to watch, of which a process has a share.
type Watchlist struct {
	targets      []poller.Target
	all          []pair // each a consumer at all providers that match
	defaults     poller.Target
	providers    map[string][]func(*poller.Target) // what is set for all targets of a provider
	index, count int                               // of the shard
}

// Discovers reports whether an entry asks for all credential providers there are.
func (w Watchlist) Discovers() bool { return len(w.all) > 0 }

// Targets returns this process's share of the targets, each once, if found are the credential providers of the instance. More than
// maxTargets of all processes are an error.
func (w Watchlist) Targets(found []poller.Provider) ([]poller.Target, error) {
	targets, have := slices.Clip(w.targets), make(map[poller.Key]bool)
	for _, t := range targets {
		have[t.Key()] = true
	}
	for _, p := range w.all {
		for _, f := range found {
			t := w.target(p, f.Identifier)
			if !p.wants(f) || have[t.Key()] {
				continue
			}
			if have[t.Key()], targets = true, append(targets, t); len(targets) > maxTargets {
				return nil, fmt.Errorf("over %d targets with the credential providers found; accepted: up to %[1]d", maxTargets)
			}
		}
	}
	return poller.Share(targets, w.index, w.count), nil
}

// Idle returns where entries are that none of found match.
func (w Watchlist) Idle(found []poller.Provider) (places []string) {
	for _, p := range w.all {
		if !slices.ContainsFunc(found, p.wants) {
			places = append(places, p.at)
		}
	}
	return places
}

// wants reports whether p, which is of all that match, is of found.
func (p pair) wants(found poller.Provider) bool {
	return (p.kind == "" || found.Type == "" || found.Type == p.kind) && p.match.MatchString(found.Identifier)
}

// watchlist reads IDAAS_TARGETS and the targets file, whose reading gave data and err.
func (c *Config) watchlist(data []byte, err error) (Watchlist, error) {
	l := targetList{
		path: c.TargetsFile, hash: c.ConsumerLabel == "hash", aliases: make(map[string]alias), providers: make(map[string][]func(*poller.Target)),
		merged: make(map[merge]map[string]*yaml.Node),
	}
	l.addInline(c.InlineTargets)
	if err != nil {
		l.fault("IDAAS_TARGETS_FILE", c.TargetsFile, err.Error())
	} else if c.TargetsFile != "" {
		l.addFile(data)
	}
	w := l.watchlist(poller.Target{Windows: c.Windows, Thresholds: poller.Thresholds{AtRisk: c.AtRisk, AboutToEnd: c.AboutToEnd, LostAfter: c.LostAfter}})
	if len(l.pairs)+len(l.all) == 0 && l.faults == nil {
		l.fault("IDAAS_TARGETS", "", "no target: set it or IDAAS_TARGETS_FILE")
	}
	if len(l.all) > 0 && !c.manageable() {
		l.fault("IDAAS_MANAGEMENT_ENDPOINT", "", "credential_providers: all needs it, as IDAAS_ENDPOINT tells no region")
	}
	if l.faults != nil {
		return Watchlist{}, l.faults
	}
	w.index, w.count = c.ShardIndex, c.ShardCount
	return w, nil
}

// targetList gathers pairs and aliases from all sources, then judges them together.
type targetList struct {
	path    string // of the file
	hash    bool
	aliases map[string]alias // by consumer, for all its pairs
	all     []pair           // with a match
	pairs   []pair
	merged  map[merge]map[string]*yaml.Node
	faults  Faults

	providers map[string][]func(*poller.Target)
}

// merge is a mapping that a merge key names in one with these known keys.
type merge struct {
	from  *yaml.Node
	known string
}

type alias struct{ text, at string }

// pair is a target yet without its label and its settings. One without a provider is of all that
// match, and of the kind, if there is one.
type pair struct {
	poller.Target
	at    string
	kind  string
	match *regexp.Regexp
	own   []func(*poller.Target)
}

func (l *targetList) fault(name, value, problem string) {
	l.faults = append(l.faults, Fault{name, value, problem})
}

func (l *targetList) addInline(text string) {
	for i, item := range splitList(text) {
		at := fmt.Sprintf("IDAAS_TARGETS item %d", i+1)
		colon := strings.LastIndex(item, ":")
		if colon < 0 {
			l.fault(at, l.shown(item), "no colon; accepted: consumerId:credentialProviderIdentifier")
			continue
		}
		consumer := l.checked(at, "consumer", strings.TrimSpace(item[:colon]))
		l.add(pair{Target: poller.Target{Consumer: consumer, Provider: strings.TrimSpace(item[colon+1:])}, at: at})
	}
}

// shown returns text, which may be a consumer id that stands in a wrong place, if those are shown at all.
func (l *targetList) shown(text string) string {
	if l.hash {
		return ""
	}
	return text
}

// checked returns text if it can be one that is shown or sent; nothing, after a fault, if not.
func (l *targetList) checked(at, what, text string) string {
	if text == "" || len(text) > 512 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		l.fault(at, "", what+" is not a text of 1 to 512 bytes without control characters")
		return ""
	}
	return text
}

// add takes p unless its consumer, about which there is a fault already, or its provider is wrong.
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
	holders := make(map[shown]pair) // without a provider: of all
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
			l.fault(p.at, p.Provider, "given for this consumer already at "+first.at)
		case taken:
			l.fault(p.at, p.Provider, fmt.Sprintf("another consumer is shown as %q too, at %s", p.Label, first.at))
		default:
			holders[as], w.targets = p, append(w.targets, w.target(p, p.Provider))
		}
	}
	return w
}

// maxTargets is there because YAML aliases let a small file name very many targets, or faults.
const maxTargets = 100_000

// addFile adds the targets in data, a YAML file. It walks nodes instead of decoding into structs, because only so every
// fault has a line, and nothing, such as a null in a list, is passed over.
func (l *targetList) addFile(data []byte) {
	if jsontext.Value(data).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
		data = jsonAsYAML(data)
	}
	var document, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	err := decoder.Decode(&document)
	if err == nil {
		if err = decoder.Decode(&more); err == nil {
			err = fmt.Errorf("line %d: a second document", more.Line)
		}
	}
	// The library reports it without a line.
	if i := bytes.IndexFunc(data, unreadable); i >= 0 {
		problem := "not valid UTF-8"
		if r, _ := utf8.DecodeRune(data[i:]); r != utf8.RuneError {
			problem = fmt.Sprintf("the control character %U", r)
		}
		err = fmt.Errorf("line %d: %s", 1+bytes.Count(data[:i], []byte("\n")), problem)
	}
	if !errors.Is(err, io.EOF) || document.Content == nil {
		l.fault(l.path, "", strings.NewReplacer("yaml: ", "", "EOF", "an empty file").Replace(err.Error()))
		return
	}
	required := 1 - min(1, len(l.pairs))
	fields := l.mapping(document.Content[0], required, "targets", "credential_providers")
	if fields["credential_providers"] != nil {
		l.addProviders(fields["credential_providers"])
	}
	for _, n := range l.list(fields["targets"], "targets") {
		if len(l.pairs)+len(l.all)+len(l.faults) > maxTargets {
			l.fault(l.at(n), "", fmt.Sprintf("not read from here on: over %d targets and faults", maxTargets))
			return
		}
		l.addEntry(n)
	}
}

// unreadable reports whether r is what YAML does not allow, or stands for what is no UTF-8.
func unreadable(r rune) bool {
	return r == utf8.RuneError || unicode.IsControl(r) && !strings.ContainsRune("\t\r\n\u0085", r)
}

// escapes are those of JSON, two for one character taken together.
var escapes = regexp.MustCompile(`\\(u[dD][89abAB][[:xdigit:]]{2}\\u[dD][c-fC-F][[:xdigit:]]{2}|.)`)

// jsonAsYAML writes what the YAML library refuses in another form on the same line: tabs between values, escaped slashes, and
// characters escaped in two halves.
func jsonAsYAML(data []byte) []byte {
	return escapes.ReplaceAllFunc(bytes.ReplaceAll(data, []byte("\t"), []byte(" ")), func(escape []byte) []byte {
		if len(escape) == 2 && escape[1] != '/' {
			return escape
		}
		text, _ := jsontext.AppendUnquote(nil, `"`+string(escape)+`"`) // always whole, as they match
		return text
	})
}

// addEntry adds one consumer with some of its providers.
func (l *targetList) addEntry(n *yaml.Node) {
	fields := l.mapping(n, 2, append([]string{"consumer", "credential_providers", "alias"}, ownKeys...)...)
	consumer := l.text(fields["consumer"], "consumer")
	if text := l.text(fields["alias"], "alias"); text != "" && consumer != "" {
		first, at := l.aliases[consumer], l.at(fields["alias"])
		if first.text != "" && first.text != text {
			l.fault(at, text, fmt.Sprintf("the same consumer has the alias %q at %s", first.text, first.at))
		} else {
			l.aliases[consumer] = alias{text, at}
		}
	}
	own := l.own(fields)
	target, providers := poller.Target{Consumer: consumer}, fields["credential_providers"]
	if providers != nil && (providers.Kind == yaml.MappingNode || providers.Value == "all") {
		l.addAll(providers, pair{Target: target, own: own})
		return
	}
	for _, item := range l.list(providers, "credential_providers is not all and") {
		if target.Provider = l.text(item, "credential provider"); target.Provider != "" {
			l.add(pair{Target: target, at: l.at(item), own: own})
		}
	}
}

// addAll adds p at all providers that n, all or a mapping, asks for.
func (l *targetList) addAll(n *yaml.Node, p pair) {
	var fields map[string]*yaml.Node
	if n.Kind == yaml.MappingNode {
		fields = l.mapping(n, 0, "type", "match")
	}
	p.at, p.kind = l.at(n), l.text(fields["type"], "type")
	if !slices.Contains([]string{"", "jwt", "oauth"}, p.kind) {
		l.fault(l.at(fields["type"]), p.kind, "no type of credential provider; accepted: jwt, oauth")
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

// mapping returns the values of n by key, nil if it is no mapping. The first few of the known keys are required; without any all are known.
// Other keys that begin with x- are ignored; a merge key (<<) gives the values of other mappings for keys that n lacks.
func (l *targetList) mapping(n *yaml.Node, required int, known ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		l.fault(l.at(n), "", "not a mapping with "+strings.Join(known, ", "))
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
			l.fault(l.at(key), l.shown(key.Value), "unknown key; known: "+strings.Join(known, ", "))
		case values[key.Value] != nil:
			l.fault(l.at(key), "", key.Value+" given twice")
		default:
			values[key.Value] = resolve(n.Content[i+1])
		}
	}
	for _, from := range merged {
		from = resolve(from)
		once := merge{from, strings.Join(known, " ")}
		if _, done := l.merged[once]; !done {
			l.merged[once] = nil // so that a circle ends
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
			l.fault(l.at(n), "", "no "+key)
		}
	}
	return values
}

// list returns the items of n, none if it was not given or is wrong.
func (l *targetList) list(n *yaml.Node, what string) []*yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		l.fault(l.at(n), "", what+" is not a list with something in it")
		return nil
	}
	for i, item := range n.Content {
		n.Content[i] = resolve(item)
	}
	return n.Content
}

// text returns n as written, also when YAML would read it as a number; nothing if it was not given or is wrong.
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
