#!/bin/sh
# Builds cnitool, the reference plugins and our caller of libcni, at the versions in go.mod beside this file, into build/reference.
#
# Ends with 3 where they cannot be had on this machine: one sentence on stderr says why, and what to do.
set -eu
umask 022
cd -- "$(dirname -- "$0")"
export PATH="$PATH:/usr/local/go/bin:/usr/lib/go/bin"
into=../../build/reference
wait_s=300

cannot() {
  printf 'reference: %s\n' "$*" >&2
  exit 3
}

built() {
  for name in $(sed -n 's|^\tgithub.com/containernetworking/.*/\([a-z-]*\)$|\1|p' go.mod) cni-runtime; do
    [ -x "$into/$name" ] || return 1
  done
}

go_wanted=$(sed -n 's/^go //p' go.mod)
command -v go >/dev/null 2>&1 || {
  ! built || exit 0
  cannot "cnitool and the reference plugins are built with Go, which is not in the PATH; install Go $go_wanted or newer (https://go.dev/dl), then run make reference."
}

mkdir -p "$into"
# One builder at a time: test files that run side by side all come here.
exec 9>"$into/.lock"
flock -w "$wait_s" 9 || {
  echo "reference: another build has held $into/.lock for $wait_s s; wait for it or end it." >&2
  exit 1
}
# As their own releases are built: without cgo, stripped. Whatever GOFLAGS and workspace the caller has stay out of it.
export GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0
words=$(go mod download 2>&1) ||
  cannot "Go $go_wanted or newer and the modules of test/reference/go.mod are needed, and $(command -v go) did not get them ($(printf '%s\n' "$words" | tail -n 1)); see that this machine reaches its Go module proxy, or install that Go, then run make reference."
go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$into/" tool
go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$into/cni-runtime" .
