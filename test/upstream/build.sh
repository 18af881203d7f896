#!/bin/sh
# Builds Kubernetes, etcd, containerd, runc and CoreDNS at the versions of the go.mod files in the folders here, into build/upstream.
#
# usage: test/upstream/build.sh [kubernetes|containerd|runc|coredns]...   all of them where none is named
# The first build takes about ten minutes on two cores; what is built already is left alone.
# Ends with 3 where they cannot be had on this machine: one sentence on stderr says why, and what to do.
set -eu
umask 022
cd -- "$(dirname -- "$0")"
export LC_ALL=C PATH="$PATH:/usr/local/go/bin:/usr/lib/go/bin"
here=$(pwd)
into=$here/../../build/upstream
wait_s=1800

cannot() {
  printf 'upstream: %s\n' "$*" >&2
  exit 3
}

# What the programs of a folder are called in build/upstream.
programs() {
  case $1 in
  kubernetes) echo hyper agnhost etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet ;;
  containerd) echo containerd containerd-shim-runc-v2 ctr ;;
  runc) echo runc ;;
  coredns) echo coredns ;;
  *)
    echo "upstream: usage: test/upstream/build.sh [kubernetes|containerd|runc|coredns]..." >&2
    exit 2
    ;;
  esac
}

# The version that a folder's go.mod asks for, without the v.
version() { sed -n "s|^\(require \)\{0,1\}[[:space:]]*$2 v\([0-9.]*\)\( // indirect\)\{0,1\}\$|\2|p" "$1/go.mod"; }

# Built once from these files: the programs are right while this text is the stamp's.
inputs() { uname -m && cksum build.sh "$1"/*; }
built() {
  for name in $(programs "$1"); do [ -x "$into/$name" ] || return 1; done
  inputs "$1" | cmp -s - "$into/$1.stamp"
}

check_go() {
  go_wanted=$(sed -n 's/^go //p' kubernetes/go.mod)
  command -v go >/dev/null 2>&1 ||
    cannot "the programs of a cluster are built with Go, which is not in the PATH; install Go $go_wanted or newer (https://go.dev/dl), then do this again."
}

fetch() {
  words=$(go mod download 2>&1) ||
    cannot "Go $go_wanted or newer and the modules of test/upstream/$1/go.mod are needed, and $(command -v go) did not get them ($(printf '%s\n' "$words" | tail -n 1)); see that this machine reaches its Go module proxy, or install that Go, then do this again."
}

# Stripped and without paths, as their own releases are; OUTPUT is a file, or a folder for several programs.
compile() { # compile OUTPUT FLAGS PACKAGE
  nice go build -buildvcs=false -trimpath -ldflags "-s -w $2" -o "$1" "$3"
}

# Without these a kubelet calls itself v0.0.0, and the API server refuses it as too old.
kubernetes_stamp() {
  release=$(version kubernetes k8s.io/kubernetes)
  minor=${release#*.}
  at=k8s.io/component-base/version
  printf -- '-X %s.gitVersion=v%s -X %s.gitMajor=%s -X %s.gitMinor=%s -X %s.gitTreeState=clean' \
    "$at" "$release" "$at" "${release%%.*}" "$at" "${minor%%.*}" "$at"
}

# Each is made in this folder and moved when whole: a program that runs keeps its file, one that is started never finds half of it.
build_kubernetes() {
  compile "$new/hyper" "$flags" .
  compile "$new/agnhost" "$flags" k8s.io/kubernetes/test/images/agnhost
  for name in $(programs kubernetes); do
    [ "$name" = agnhost ] || [ "$name" = hyper ] || ln -s hyper "$new/$name"
  done
}
build_containerd() { compile "$new/" "$flags" tool; }
build_runc() {
  CGO_ENABLED=1 nice go build -buildvcs=false -trimpath -tags seccomp -ldflags "-s -w $flags" -o "$new/runc" github.com/opencontainers/runc
}
build_coredns() { compile "$new/coredns" "" .; }

check_seccomp() {
  if command -v gcc >/dev/null 2>&1 && pkg-config --exists libseccomp 2>/dev/null; then return 0; fi
  cannot "runc is built with gcc, pkg-config and the headers of libseccomp; run tools/machine.sh cluster, or install them (Debian: gcc pkg-config libseccomp-dev), then do this again."
}

build() {
  built "$1" && return 0
  check_go
  [ "$1" != runc ] || check_seccomp
  case $1 in
  kubernetes) flags=$(kubernetes_stamp) ;;
  containerd) flags="-X github.com/containerd/containerd/v2/version.Version=v$(version containerd github.com/containerd/containerd/v2)" ;;
  runc) flags="-X main.version=$(version runc github.com/opencontainers/runc)" ;;
  *) flags="" ;;
  esac
  started=$(date +%s)
  printf 'upstream: building %s\n' "$1"
  new=$into/.new-$1
  rm -rf "$new" "$into/$1.stamp"
  mkdir "$new"
  (
    cd "$1"
    fetch "$1"
    "build_$1"
  )
  mv -f "$new"/* "$into/"
  rmdir "$new"
  inputs "$1" >"$into/$1.stamp"
  printf 'upstream: %s: %s s\n' "$1" "$(($(date +%s) - started))"
}

[ "$#" -gt 0 ] || set -- kubernetes containerd runc coredns
for folder in "$@"; do programs "$folder" >/dev/null; done
mkdir -p "$into"
# One builder at a time: tests that run side by side all come here.
exec 9>"$into/.lock"
flock -w "$wait_s" 9 || {
  echo "upstream: another build has held build/upstream/.lock for $wait_s s; wait for it or end it." >&2
  exit 1
}
# Whatever GOFLAGS and workspace the caller has stay out of it.
export GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0
for folder in "$@"; do build "$folder"; done
