// Package state saves a poller's snapshot to a file and restores it after a restart.
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

// The first line of the file ends with the SHA-256 of the rest. The rest is gzipped JSON: the instance, an entry with the lists in which
// targets are found, and an entry per target. All versions up to this one are read. Absent members have no value; unknown members and
// entries without facts are ignored. Only a change that an older exporter would read wrongly needs a new version.
const (
	magic      = "idaas-token-exporter state "
	version    = '2'
	headerSize = len(magic) + len("2 ") + 2*sha256.Size + 1
)

// File is the state file of one IDaaS instance. It contains consumer ids, but no secrets and no token texts.
type File struct {
	Path     string // empty: nothing is saved or restored
	Instance string // domain, endpoint and id as configured, separated by blanks; a file of another instance is not restored
}

type entry struct {
	poller.Key
	Census  *poller.Census  `json:",omitzero"`
	Failure *poller.Failure `json:",omitzero"`
	Gone    time.Time       `json:",omitzero"`
	Lists   *poller.Lists   `json:",omitzero"` // of the first entry, which has nothing else
}

var options = json.JoinOptions(
	jsonv1.FormatDurationAsNano(true),
	json.WithMarshalers(json.MarshalToFunc(writeTimes)),
	json.WithUnmarshalers(json.UnmarshalFromFunc(readTimes)),
)

const (
	ioTimeout = 30 * time.Second
	access    = "access" // one operation for reads and writes, so that a late read or write does not touch a later write
)

// Save writes s atomically, for its owner only, within 30 s. If the existing file cannot be read, or another process uses it, Save returns
// an error and leaves the file.
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
	if old, err := open(path); err == nil {
		_ = old.Close()
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

// real returns the path to which symbolic links lead; the file need not exist.
func (f File) real() string {
	path := f.Path
	for range 40 { // the limit of the kernel
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
			path = folder + "/" + target // Join would remove ".." after a link
		}
	}
	return path
}

// open opens a regular file: opening a pipe would block.
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

// write streams: the times, which are most of the data, are never in memory twice.
func (f File) write(w io.Writer, s *poller.Snapshot) error {
	buffered := bufio.NewWriter(w)
	zipped, _ := gzip.NewWriterLevel(buffered, gzip.BestSpeed) // the only possible error is an unknown level
	out := jsontext.NewEncoder(zipped)
	err := cmp.Or(json.MarshalEncode(out, f.Instance), json.MarshalEncode(out, entry{Lists: s.Lists}, options))
	for _, r := range slices.AppendSeq(slices.Clone(s.Readings), maps.Values(s.Gone)) {
		if r.Attempted() && err == nil {
			err = json.MarshalEncode(out, entry{r.Target.Key(), r.Census, r.Failure, r.Gone, nil}, options)
		}
	}
	return cmp.Or(err, zipped.Close(), buffered.Flush())
}

// Restored is the content of a state file. Readings have no labels, and include those of removed targets.
type Restored struct {
	Readings map[poller.Key]*poller.Reading // nil: no file, or a bad one
	Lists    *poller.Lists                  // nil: none
}

// Load reads the file within 30 s. A file that is incomplete, unreadable, or of another instance or a later version is an error, and is
// renamed to <name>.bad unless there is one.
func (f File) Load() (Restored, error) {
	if f.Path == "" {
		return Restored{}, nil
	}
	return disk.Do(context.Background(), ioTimeout, access, f.Path, f.load)
}

func (f File) load() (r Restored, err error) {
	path := f.real()
	// A process that was killed leaves its temporary file; a recent one may be in use by another process.
	temporary, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"[0-9]*"))
	for _, name := range temporary {
		if info, err := os.Lstat(name); err == nil && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(name)
		}
	}
	file, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		defer func() { _ = file.Close() }()
		r, err = f.read(file)
	}
	if info, statErr := os.Stat(path); err != nil && statErr == nil && info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w (%s)", path, err, setAside(path))
	}
	return r, advise(path, err)
}

// setAside renames the bad file at path, which is useful after an error in the settings or with another version, and returns what it did.
// The first bad file stays.
func setAside(path string) string {
	bad := path + ".bad"
	_, missing := os.Lstat(bad)
	err := lock(path)
	switch {
	case err == nil && missing == nil:
		return "not renamed: " + bad + " exists"
	case err == nil:
		err = os.Rename(path, bad)
	}
	if err != nil {
		return "not renamed: " + err.Error()
	}
	return "renamed to " + bad
}

// verify reads the whole file and seeks to the end of the first line.
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
		return errors.New("damaged: the checksum is wrong")
	}
	_, err := file.Seek(int64(headerSize), io.SeekStart)
	return err
}

func (f File) read(file *os.File) (r Restored, err error) {
	if err := verify(file); err != nil {
		return r, err
	}
	zipped, err := gzip.NewReader(file)
	if err != nil {
		return r, err
	}
	in := jsontext.NewDecoder(zipped)
	var instance string
	if err := json.UnmarshalDecode(in, &instance); err != nil {
		return r, err
	}
	if !same(instance, f.Instance) {
		return r, fmt.Errorf("of another instance: %q", instance)
	}
	restored := Restored{Readings: map[poller.Key]*poller.Reading{}}
	for {
		var e entry
		err := json.UnmarshalDecode(in, &e, options)
		if errors.Is(err, io.EOF) {
			return restored, nil
		}
		if err != nil {
			return r, err
		}
		restored.Lists = cmp.Or(e.Lists, restored.Lists)
		if e.Failure != nil && e.Failure.Since.IsZero() {
			e.Failure.Since = e.Failure.At // version 1 has no Since
		}
		if e.Census != nil || e.Failure != nil {
			target := poller.Target{Consumer: e.Consumer, Provider: e.Provider}
			restored.Readings[e.Key] = &poller.Reading{Target: target, Census: e.Census, Failure: e.Failure, Gone: e.Gone}
		}
	}
}

// same reports whether two configurations are of one IDaaS instance. It compares the ids if both have one, else the domains.
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

// writeTimes writes ascending times as the first time and the differences, which are shorter.
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
	type differences []int64 // a type without this function
	err := json.UnmarshalDecode(in, (*differences)(times))
	if len(*times) == 0 {
		*times = nil // as in a new census
	}
	for i := 1; i < len(*times); i++ {
		(*times)[i] += (*times)[i-1]
	}
	return err
}
