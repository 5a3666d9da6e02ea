package e2e

import (
	"regexp"
	"testing"
)

var quickStarts = regexp.MustCompile("<!-- quickstart: (\\w+) -->\n```sh\n([^`]*)```\n")

// QuickStart returns the commands that README.md gives for a way to start; those in Chinese are the same.
func QuickStart(t *testing.T, way string) string {
	t.Helper()
	var found []string
	for _, file := range []string{"README.md", "README.zh-CN.md"} {
		for _, m := range quickStarts.FindAllStringSubmatch(ReadFile(t, Root+"/"+file), -1) {
			if m[1] == way {
				found = append(found, m[2])
			}
		}
	}
	if len(found) != 2 || found[0] != found[1] {
		t.Fatalf("not the same in both languages: %q", found)
	}
	return found[0]
}
