#!/bin/sh
# Runs the Dockerfile with buildah and holds its tree against that of make image: names, kinds, modes, owners, links and contents.
#
# usage: tools/image/dockerfile.sh [ARGUMENT...]    arguments go to buildah build, such as --volume or --registries-conf
#
# No part of make test: it needs buildah, and its Dockerfile's base image from a registry or in buildah's own store.
set -eu
export LC_ALL=C
cd -- "$(dirname -- "$0")/../.."

image=localhost/fairlead:dockerfile
run_wait_s=60

refuse() {
  printf 'dockerfile: %s\n' "$*" >&2
  exit 1
}

# What a builder decides for itself is left out: the mode of the top folder.
listing() { (cd "$1" && find . -mindepth 1 -printf '%p %y %m %U:%G %l\n' | sort); }
contents() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

same() { # same WHAT THIS OTHER
  diff -u "$2" "$3" >"$work/differs" || {
    sed -n '1,20p' "$work/differs" >&2
    refuse "the $1 differ from those of make image (the first lines are above, - is the Dockerfile's); make image of the same sources, then run this again."
  }
}

[ "$(id -u)" = 0 ] || refuse "root is needed to look at owners; run it with sudo or as root."
command -v buildah >/dev/null 2>&1 || refuse "not run: buildah is not in the PATH; install it (Debian: apt-get install buildah)."
for layer in base app; do
  [ -e "build/image/$layer.tar" ] || refuse "not run: build/image/$layer.tar is not there to compare with; run make image."
done

work=$(mktemp -d)
container=
clean() {
  [ -z "$container" ] || buildah rm "$container" >/dev/null
  rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM HUP

buildah build --isolation chroot --tag "$image" "$@" .
container=$(buildah from --pull-never "$image")
made=$(buildah mount "$container")
mkdir "$work/tree"
for layer in base app; do tar -x -p -C "$work/tree" -f "build/image/$layer.tar"; done
listing "$made" >"$work/made.list"
listing "$work/tree" >"$work/tree.list"
same 'files' "$work/made.list" "$work/tree.list"
contents "$made" >"$work/made.sums"
contents "$work/tree" >"$work/tree.sums"
same 'contents' "$work/made.sums" "$work/tree.sums"
said=$(timeout "$run_wait_s" buildah run --isolation chroot "$container" -- /usr/bin/fairlead --version)
wanted=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
[ "$said" = "$wanted" ] || refuse "the image says that it is version '$said', not $wanted."
printf 'dockerfile: %s entries and %s files, all as in make image; it runs: %s\n' \
  "$(wc -l <"$work/made.list")" "$(wc -l <"$work/made.sums")" "$said"
