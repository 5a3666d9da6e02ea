// Package state keeps a poller's snapshot in a file, across restarts.
package state

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/google/renameio/v2"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// The file is one line that ends in the SHA-256 of the rest, and gzipped JSON: the instance, then entries: one of the lists in
// which targets are found, and one per target.
// Every version up to this one is read. Members that are absent have no value, unknown ones are ignored, and so are entries
// without facts: only what an older exporter would read wrongly needs a new version.
const (
	magic      = "idaas-token-exporter state "
	version    = '2'
	headerSize = len(magic) + len("2 ") + 2*sha256.Size + 1
)

// File is where the state of one IDaaS instance is kept. It holds no secrets and no token texts, but consumer ids.
type File struct {
	Path     string // empty: nothing is kept, and there is nothing to restore
	Instance string // domain, endpoint and id as configured, with blanks between; a file of another IDaaS instance is not restored

	reserved bool // for this process, until it ends
}

type entry struct {
	Consumer, Provider string          `json:",omitzero"`
	Census             *poller.Census  `json:",omitzero"`
	Failure            *poller.Failure `json:",omitzero"`
	Gone               time.Time       `json:",omitzero"`
	Lists              *poller.Lists   `json:",omitzero"` // of one entry, which has nothing else
}

var options = json.JoinOptions(
	jsonv1.FormatDurationAsNano(true),
	json.WithMarshalers(json.MarshalToFunc(writeTimes)),
	json.WithUnmarshalers(json.UnmarshalFromFunc(readTimes)),
)

const (
	ioTimeout = 30 * time.Second // to read or to write: for a disk that is busy, but not for one that is gone
	access    = "access"         // is both, so that they take turns: what is late must not touch what was written since
)

// Save writes what s knows, atomically and readable by its owner only, within 30 s. A file there that cannot be read, or that
// another process uses, is an error and stays.
func (f File) Save(s *poller.Snapshot) error {
	if f.Path == "" {
		return nil
	}
	_, err := disk.Do(context.Background(), ioTimeout, access, f.Path, func() (any, error) { return nil, advise(f.real(), f.save(s)) })
	return err
}

func (f File) save(s *poller.Snapshot) (err error) {
	path := f.real()
	if err := lock(path); err != nil {
		return err
	}
	if !f.reserved {
		defer unlock(path)
	}
	if there, err := open(path); err == nil {
		_ = there.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o600), renameio.WithTempDir(filepath.Dir(path)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Cleanup()) }()
	sum := sha256.New()
	if err := f.write(io.MultiWriter(io.NewOffsetWriter(file, int64(headerSize)), sum), s); err != nil {
		return err
	}
	if _, err := file.WriteAt(header(version, sum), 0); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

// real is where symbolic links lead, be there a file or not yet.
func (f File) real() string {
	path := f.Path
	for range 40 { // as many as the kernel follows
		folder, name := filepath.Split(path)
		folder, err := filepath.EvalSymlinks(cmp.Or(folder, "."))
		if err != nil {
			break
		}
		path = filepath.Join(folder, name)
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if path = target; !filepath.IsAbs(target) {
			path = folder + "/" + target // not joined: .. is to lead up from where links lead
		}
	}
	return path
}

// open opens what can be a state file; nothing else is touched, since a pipe would never come back.
func open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	what := map[fs.FileMode]string{fs.ModeDir: "folder", fs.ModeNamedPipe: "pipe", fs.ModeSocket: "socket", fs.ModeDevice: "device"}
	if kind := info.Mode().Type() &^ fs.ModeCharDevice; kind != 0 {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("a %s, not a file", what[kind])}
	}
	return os.Open(path)
}

func header(version byte, sum hash.Hash) []byte {
	return fmt.Appendf(nil, "%s%c %x\n", magic, version, sum.Sum(nil))
}

// write streams: the times, most of all there is, are never in memory twice.
func (f File) write(w io.Writer, s *poller.Snapshot) error {
	buffered := bufio.NewWriter(w)
	zipped, _ := gzip.NewWriterLevel(buffered, gzip.BestSpeed) // only an unknown level is an error
	out := jsontext.NewEncoder(zipped)
	if err := json.MarshalEncode(out, f.Instance); err != nil {
		return err
	}
	if s.Lists != nil {
		if err := json.MarshalEncode(out, entry{Lists: s.Lists}, options); err != nil {
			return err
		}
	}
	for _, r := range slices.AppendSeq(slices.Clone(s.Readings), maps.Values(s.Gone)) {
		if !r.Attempted() {
			continue
		}
		if err := json.MarshalEncode(out, entry{r.Target.Consumer, r.Target.Provider, r.Census, r.Failure, r.Gone, nil}, options); err != nil {
			return err
		}
	}
	return errors.Join(zipped.Close(), buffered.Flush())
}

// Restored is what a file has: readings without their labels, those of removed targets included.
type Restored struct {
	Readings map[poller.Key]*poller.Reading // nil: there is no file, or a bad one
	Lists    *poller.Lists                  // nil: none was saved
}

// Load returns what was known when the file was saved. A file that is not whole, that cannot be
// read, or that is not of this instance and version, is an error and restores nothing. It takes 30 s at most.
func (f File) Load() (Restored, error) {
	if f.Path == "" {
		return Restored{}, nil
	}
	return disk.Do(context.Background(), ioTimeout, access, f.Path, f.load)
}

func (f File) load() (r Restored, err error) {
	path := f.real()
	// A process killed while it was saving has left its half; a new one may be another process's, at work.
	halves, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"[0-9]*"))
	for _, half := range halves {
		if info, err := os.Lstat(half); err == nil && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(half)
		}
	}
	file, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		defer func() { _ = file.Close() }()
		if err = verify(file); err == nil {
			r, err = f.read(file)
		}
	}
	if info, statErr := os.Stat(path); err != nil && statErr == nil && info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w (%s)", path, err, keepAside(path))
	}
	return r, advise(path, err)
}

// keepAside moves the bad file at path away and says where to: it may be of use to somebody, after a typo in the settings,
// or with another version. The first of several has most.
func keepAside(path string) string {
	bad := path + ".bad"
	if err := lock(path); err != nil {
		return "not kept aside: " + err.Error()
	}
	defer unlock(path)
	if _, err := os.Lstat(bad); err == nil {
		return "not kept: " + bad + ", an earlier one, is"
	}
	if err := os.Rename(path, bad); err != nil {
		return "not kept aside: " + err.Error()
	}
	return "kept as " + bad
}

// verify reads the whole file and leaves it after the first line.
func verify(file *os.File) error {
	first := make([]byte, headerSize)
	if _, err := io.ReadFull(file, first); err != nil || !bytes.HasPrefix(first, []byte(magic)) {
		return errors.New("not a state file")
	}
	found := first[len(magic)]
	if found < '1' || found > version {
		return fmt.Errorf("state file version %q; this exporter reads 1 to %c", found, version)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return err
	}
	if !bytes.Equal(first, header(found, sum)) {
		return errors.New("damaged: its checksum is another one")
	}
	_, err := file.Seek(int64(headerSize), io.SeekStart)
	return err
}

func (f File) read(r io.Reader) (Restored, error) {
	zipped, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return Restored{}, err
	}
	in := jsontext.NewDecoder(zipped)
	var instance string
	if err := json.UnmarshalDecode(in, &instance); err != nil {
		return Restored{}, err
	}
	if !same(instance, f.Instance) {
		return Restored{}, fmt.Errorf("of another instance: %q", instance)
	}
	restored := Restored{Readings: map[poller.Key]*poller.Reading{}}
	for {
		var e entry
		err := json.UnmarshalDecode(in, &e, options)
		if errors.Is(err, io.EOF) {
			return restored, nil
		}
		if err != nil {
			return Restored{}, err
		}
		restored.Lists = cmp.Or(e.Lists, restored.Lists)
		if e.Failure != nil && e.Failure.Since.IsZero() {
			e.Failure.Since = e.Failure.At // version 1 has none
		}
		if e.Census != nil || e.Failure != nil {
			key := poller.Key{Consumer: e.Consumer, Provider: e.Provider}
			restored.Readings[key] = &poller.Reading{
				Target: poller.Target{Consumer: e.Consumer, Provider: e.Provider}, Census: e.Census, Failure: e.Failure, Gone: e.Gone,
			}
		}
	}
}

// same reports whether two configurations are of one IDaaS instance: the ids decide if both have one, else the domains.
func same(a, b string) bool {
	x, y := strings.Split(a, " "), strings.Split(b, " ")
	if len(x) != 3 || len(y) != 3 {
		return a == b
	}
	if x[2] != "" && y[2] != "" {
		return x[2] == y[2]
	}
	return x[0] != "" && x[0] == y[0]
}

// writeTimes writes ascending times as the first and then the differences, which are shorter.
func writeTimes(out *jsontext.Encoder, times []int64) error {
	if err := out.WriteToken(jsontext.BeginArray); err != nil {
		return err
	}
	before := int64(0)
	for _, t := range times {
		if err := out.WriteToken(jsontext.Int(t - before)); err != nil {
			return err
		}
		before = t
	}
	return out.WriteToken(jsontext.EndArray)
}

func readTimes(in *jsontext.Decoder, times *[]int64) error {
	type differences []int64 // of which this function is not asked
	err := json.UnmarshalDecode(in, (*differences)(times))
	if len(*times) == 0 {
		*times = nil // as a census without any has it
	}
	for i := 1; i < len(*times); i++ {
		(*times)[i] += (*times)[i-1]
	}
	return err
}
