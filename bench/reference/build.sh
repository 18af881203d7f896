#!/bin/sh
# Builds the reference plugins that bench compares with, at the versions in go.mod beside this file, into build/reference.
set -eu
umask 022
cd -- "$(dirname -- "$0")"
export PATH="$PATH:/usr/local/go/bin:/usr/lib/go/bin"

command -v go >/dev/null 2>&1 || {
  echo "bench: the reference plugins are built with Go, which is not in the PATH; install Go 1.25 or newer (apt-get install golang-go, or https://go.dev/dl)." >&2
  exit 1
}
mkdir -p ../../build/reference
# As their own releases are built: without cgo, stripped. Whatever GOFLAGS and workspace the caller has stay out of it.
GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w' -o ../../build/reference/ tool
