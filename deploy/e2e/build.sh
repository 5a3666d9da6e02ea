#!/bin/sh
# Builds programs that `go install` refuses because their go.mod has replace or exclude lines, in a temporary module.
#   build.sh kubernetes VERSION FOLDER PROGRAM...    commands of k8s.io/kubernetes
#   build.sh operator VERSION FOLDER                 prometheus-operator, as operator, and prometheus-config-reloader
#   build.sh compose VERSION FOLDER                  Docker Compose, as docker-compose
# FOLDER receives the programs. GOBIN is ignored.
set -eu
what=$1 version=$2 folder=$3
shift 3
module=$(mktemp -d)
trap 'rm -r "$module"' EXIT
cd "$module"
go mod init tools 2>/dev/null

case $what in
kubernetes)
  # Its staging modules are folders of its tree. As dependencies they need versions, such as 0.37.2 for 1.37.2.
  source=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
  {
    echo "module tools"
    sed -n '/^go [0-9.]*$/p' "$source"
    echo "require k8s.io/kubernetes v$version"
    sed -n "s#^[[:space:]]*\(k8s.io/[a-z-]*\) => ./staging/.*#replace \1 => \1 v0.${version#1.}#p" "$source"
  } >go.mod
  minor=${version#1.}
  about=k8s.io/component-base/version
  for program; do
    CGO_ENABLED=0 go build -mod=mod -trimpath -o "$folder/" \
      -ldflags "-s -w -X $about.gitVersion=v$version -X $about.gitMajor=1 -X $about.gitMinor=${minor%%.*}" \
      "k8s.io/kubernetes/cmd/$program"
  done
  ;;
operator)
  operator=github.com/prometheus-operator/prometheus-operator/cmd
  go get "$operator/operator@v$version" "$operator/prometheus-config-reloader@v$version"
  mkdir -p "$folder"
  CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$folder/" "$operator/operator" "$operator/prometheus-config-reloader"
  ;;
compose)
  go get "github.com/docker/compose/v2/cmd@v$version"
  go build -trimpath -o "$folder/docker-compose" \
    -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=v$version" github.com/docker/compose/v2/cmd
  ;;
*)
  echo "unknown program $what: accepted are kubernetes, operator, compose" >&2
  exit 2
  ;;
esac
