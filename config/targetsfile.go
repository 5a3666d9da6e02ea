package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

const maxFileBytes = 16 << 20

// addYAML adds the entries of data. It walks nodes instead of decoding into structs, because only so every fault
// has a line, and nothing, such as a null in a list, is passed over.
func (l *targetList) addYAML(path string, data []byte) {
	f := fileWalk{l, path}
	// The library reports these without a line.
	if i := bytes.IndexFunc(data, notText); i >= 0 {
		f.fault(bytes.Count(data[:i], []byte("\n"))+1, "not valid UTF-8, or a control character")
		return
	}
	var document, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		f.fault(1, "an empty file")
		return
	}
	if err == nil {
		err = decoder.Decode(&more)
		if err == nil {
			f.fault(more.Line, "a second document")
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		f.syntax(err)
		return
	}
	root := document.Content[0]
	list := f.mapping(root, "targets")["targets"]
	if list == nil {
		f.fault(root.Line, "no targets")
	}
	for _, n := range f.list(list, "targets", maxTargets) {
		// YAML aliases let a small file name very many targets, or faults.
		if l.pairs > maxTargets || len(l.faults) > maxTargetFaults {
			f.fault(n.Line, fmt.Sprintf("not read from here on: over %d targets or %d faults", maxTargets, maxTargetFaults))
			return
		}
		f.entry(n)
	}
}

// notText reports what YAML does not allow in a file; also the character that stands for broken encoding.
func notText(r rune) bool {
	return r == unicode.ReplacementChar || unicode.IsControl(r) && !strings.ContainsRune("\t\n\r\u0085", r)
}

// fileWalk notes the faults of one file.
type fileWalk struct {
	*targetList
	path string
}

func (f fileWalk) at(line int) string { return fmt.Sprintf("%s:%d", f.path, line) }

func (f fileWalk) fault(line int, problem string) {
	f.targetList.fault(Fault{Name: f.at(line), Problem: problem})
}

// syntax notes an error of the parser, which begins with "yaml: line 7: " or "yaml: ".
func (f fileWalk) syntax(err error) {
	problem, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if n, _ := fmt.Sscanf(problem, "line %d:", &line); n == 1 {
		_, problem, _ = strings.Cut(problem, ": ")
		f.fault(line, problem)
		return
	}
	f.targetList.fault(Fault{Name: f.path, Problem: problem})
}

func (f fileWalk) entry(n *yaml.Node) {
	fields := f.mapping(n, "consumer", "credential_providers", "alias", "expiring_within")
	if fields == nil {
		return
	}
	var e entry
	for _, key := range []string{"consumer", "credential_providers"} {
		if fields[key] == nil {
			f.fault(n.Line, "no "+key)
		}
	}
	if text, ok := f.text(fields["consumer"], "consumer"); ok {
		e.consumer = f.consumer("consumer", text)
	}
	if text, ok := f.text(fields["alias"], "alias"); ok {
		e.alias = f.consumer("alias", text)
	}
	for _, item := range f.list(fields["credential_providers"], "credential_providers", maxTargets) {
		if text, ok := f.text(item, "credential provider"); ok {
			e.providers = append(e.providers, f.provider(text))
		}
	}
	for _, item := range f.list(fields["expiring_within"], "expiring_within", maxWindows) {
		text, ok := f.text(item, "window")
		if !ok {
			continue
		}
		var err error
		if e.windows, err = addWindow(e.windows, text.text); err != nil {
			f.targetList.fault(Fault{Name: text.at, Value: text.text, Problem: err.Error()})
		}
	}
	f.add(e)
}

// mapping returns the values of n by key; nil if it is no mapping.
func (f fileWalk) mapping(n *yaml.Node, known ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		f.fault(n.Line, "not a mapping with "+strings.Join(known, ", "))
		return nil
	}
	values := make(map[string]*yaml.Node)
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case !slices.Contains(known, key.Value):
			f.fault(key.Line, fmt.Sprintf("unknown key %q; known: %s", key.Value, strings.Join(known, ", ")))
		case values[key.Value] != nil:
			f.fault(key.Line, key.Value+" given twice")
		default:
			values[key.Value] = resolve(n.Content[i+1])
		}
	}
	return values
}

// list returns the items of n, none if it was not given or is wrong.
func (f fileWalk) list(n *yaml.Node, what string, most int) []*yaml.Node {
	switch {
	case n == nil:
		return nil
	case n.Kind != yaml.SequenceNode:
		f.fault(n.Line, what+" is not a list")
		return nil
	case len(n.Content) == 0:
		f.fault(n.Line, what+" is empty")
		return nil
	case len(n.Content) > most:
		f.fault(n.Line, fmt.Sprintf("%s has more than %d items", what, most))
		return nil
	}
	items := make([]*yaml.Node, len(n.Content))
	for i, item := range n.Content {
		items[i] = resolve(item)
	}
	return items
}

// text returns n as written, also when YAML would read it as a number; false if it was not given or is no text.
func (f fileWalk) text(n *yaml.Node, what string) (located, bool) {
	if n == nil {
		return located{}, false
	}
	if n.Kind != yaml.ScalarNode || !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, n.ShortTag()) {
		f.fault(n.Line, what+" is not a text")
		return located{}, false
	}
	return located{strings.TrimSpace(n.Value), f.at(n.Line)}, true
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
