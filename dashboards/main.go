// Command dashboards writes the Grafana dashboards of this project: one JSON file each, with the uid as its name. Run it in the top
// folder after a change: go run ./dashboards
package main

import (
	"bytes"
	"encoding/json"
	"log"
	"os"
	"path/filepath"
)

func main() {
	for _, d := range []dashboard{tokens(), exporter()} {
		if err := os.WriteFile(filepath.Join("dashboards", d.file()), d.encode(), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

func (d dashboard) file() string { return d.UID + ".json" }

// encode returns the file's content: a line for each value, for small files and readable changes. It panics if a value is not JSON.
func (d dashboard) encode() []byte {
	var compact, out bytes.Buffer
	encoder := json.NewEncoder(&compact)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(d)
	if err == nil {
		err = json.Indent(&out, compact.Bytes(), "", "")
	}
	if err != nil {
		panic(err)
	}
	return out.Bytes()
}
