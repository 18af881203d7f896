#!/bin/sh
# Makes the container image: a tree of only what runs, and of it an OCI archive that no registry has seen.
#
# usage: tools/image.sh          build/image/{base,app}, and of them build/fairlead-image.tar
#        tools/image.sh tree     the tree alone, for a Dockerfile that copies it
#
# The same packages, Node and sources give the same bytes: names in order, no times, no owners, no chance in the compiled code.
set -eu
umask 022
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
unset CDPATH NODE_OPTIONS TAR_OPTIONS GZIP

cd -- "$(dirname -- "$0")/.."
out=build/image
# Where Fairlead lies in the image; compiled code is kept by absolute path.
home=opt/fairlead
# Who the controller runs as: compiled code is kept for each user by itself.
nonroot_uid=65532
download_wait_s=300

# What runs: Node's libraries; the shell and readlink of bin/fairlead; unshare and cat, by which the agent tries the kernel out.
packages='libc6 libgcc-s1 libstdc++6 libatomic1 dash coreutils util-linux base-files'
kept='
usr/lib/*-linux-gnu/ld-linux-*.so.*
usr/lib/ld-linux-*.so.*
usr/lib64/ld-linux-*.so.*
usr/lib/*-linux-gnu/libc.so.6
usr/lib/*-linux-gnu/libm.so.6
usr/lib/*-linux-gnu/libdl.so.2
usr/lib/*-linux-gnu/libpthread.so.0
usr/lib/*-linux-gnu/libgcc_s.so.1
usr/lib/*-linux-gnu/libatomic.so.1*
usr/lib/*-linux-gnu/libstdc++.so.6*
usr/bin/dash
usr/bin/cat
usr/bin/readlink
usr/bin/unshare
usr/lib/os-release
'

refuse() {
  printf 'image: %s\n' "$*" >&2
  exit 1
}

check_machine() {
  [ "$(id -u)" = 0 ] || refuse "root is needed to try the tree out in a chroot; run it with sudo or as root."
  for tool in apt-get dpkg-deb tar gzip strip flock; do
    command -v "$tool" >/dev/null 2>&1 ||
      refuse "$tool is not in the PATH; on Debian or Ubuntu make image installs it, elsewhere use the Dockerfile."
  done
  for file in node_modules/.bin/node build/fairlead.node build/fairlead-cni; do
    [ -e "$file" ] || refuse "$file is not there; run make image, which makes it."
  done
}

# Debian's own packages in the version that this machine's sources offer: the addon was built against them.
download() {
  mkdir -p "$out/debs"
  # shellcheck disable=SC2086 # the list is split into names on purpose
  (cd "$out/debs" && timeout "$download_wait_s" apt-get -qq -o APT::Sandbox::User=root download $packages) >"$out/apt.log" 2>&1 </dev/null
}

base_packages() {
  download || {
    apt-get -qq update >"$out/apt-update.log" 2>&1 </dev/null || true
    download || {
      tail -n 20 "$out/apt.log" >&2
      refuse "apt-get could not download $packages (its words are above); see that this machine reaches its Debian archive."
    }
  }
  mkdir -p "$out/unpacked/usr/bin" "$out/unpacked/usr/sbin" "$out/unpacked/usr/lib" "$out/unpacked/usr/lib64" "$out/base/var/lib/dpkg/status.d"
  for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$out/unpacked/$folder"; done
  for package in $packages; do
    set -- "$out/debs/${package}"_*.deb
    [ "$#" = 1 ] && [ -f "$1" ] || refuse "apt-get gave no single file for $package; look into $out/debs."
    dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink --no-same-owner -C "$out/unpacked"
    # Scanners of images look here for what is in one.
    dpkg-deb --field "$1" >"$out/base/var/lib/dpkg/status.d/$package"
  done
}

# The lower layer: Debian's files and Node. It changes only with them.
make_base() {
  base_packages
  (
    cd "$out/unpacked"
    # shellcheck disable=SC2086 # names with stars
    set -- $kept
    for file in "$@"; do [ ! -e "$file" ] || printf '%s\n' "$file"; done
    for package in $packages; do [ ! -e "usr/share/doc/$package/copyright" ] || printf '%s\n' "usr/share/doc/$package/copyright"; done
  ) | tar -c -C "$out/unpacked" -T - | tar -x -C "$out/base"
  for folder in bin sbin lib lib64; do
    mkdir -p "$out/base/usr/$folder"
    ln -s "usr/$folder" "$out/base/$folder"
  done
  ln -s dash "$out/base/usr/bin/sh"
  ln -s "../../$home/bin/fairlead" "$out/base/usr/bin/fairlead"
  mkdir -p "$out/base/etc" "$out/base/tmp" "$out/base/proc" "$out/base/sys" "$out/base/dev" "$out/base/run" "$out/base/var/lib/fairlead"
  ln -s ../usr/lib/os-release "$out/base/etc/os-release"
  # Runtimes call their pods' namespaces by this name too.
  ln -s ../run "$out/base/var/run"
  printf 'root:x:0:0:root:/:/usr/bin/sh\nfairlead:x:%s:%s:fairlead:/:/usr/bin/sh\n' "$nonroot_uid" "$nonroot_uid" >"$out/base/etc/passwd"
  printf 'root:x:0:\nfairlead:x:%s:\n' "$nonroot_uid" >"$out/base/etc/group"
  printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$out/base/etc/nsswitch.conf"
  for package in node_modules/node-linux-*; do
    mkdir -p "$out/base/$home/$package/bin" "$out/base/$home/node_modules/.bin"
    strip --strip-unneeded -o "$out/base/$home/$package/bin/node" "$package/bin/node"
    cp "$package/LICENSE" "$package/package.json" "$out/base/$home/$package/"
    ln -s "../${package#node_modules/}/bin/node" "$out/base/$home/node_modules/.bin/node"
  done
}

# The upper layer: Fairlead, the modules that it imports, and both already compiled.
make_app() {
  mkdir -p "$out/app/$home"
  node_modules/.bin/node --disable-warning=ExperimentalWarning tools/image/files.ts >"$out/files"
  tar -c --no-recursion -T "$out/files" | tar -x -C "$out/app/$home"
}

# Compiles what agent, controller and tool import, as each of their users, inside the tree: that shows too that the tree is whole.
# A seed, one thread for collector and compiler, and no collection by the clock take chance out of the result, and streams of the same kinds everywhere: Node loads
# other code for a pipe than for a file, and that shows in it. Node takes a result only where it was made under the same flags and on
# the like of its processor; these flags do not count. Elsewhere it compiles: 20 MB more, as fast.
compile_ahead() {
  flags=$(sed -n 's/^exec "$node" \(.*\) "$root\/src\/main.ts" "$@"$/\1/p' bin/fairlead)
  [ -n "$flags" ] || refuse "bin/fairlead has no line that starts Node as expected; fit tools/image.sh to it."
  mkdir -p "$out/whole"
  for layer in base app; do tar -c -C "$out/$layer" . | tar -x -C "$out/whole"; done
  cache=$home/build/compile-cache
  mkdir "$out/whole/$cache"
  chmod 1777 "$out/whole/$cache"
  for uid in 0 "$nonroot_uid"; do
    # shellcheck disable=SC2086 # the flags are words
    said=$(env -i PATH="$PATH" NODE_COMPILE_CACHE="/$cache" chroot --userspec="$uid:$uid" "$out/whole" "/$home/node_modules/.bin/node" \
      $flags --random-seed=1 --single-threaded-gc --no-concurrent-recompilation --no-memory-reducer --input-type=module-typescript --eval "$(cat tools/image/compile.ts)" \
      2>"$out/compile.log" </dev/null) || {
      tail -n 20 "$out/compile.log" >&2
      refuse "the tree does not run in a chroot as user $uid (its words are above)."
    }
    [ "$said" = "$(version)" ] || refuse "the tree says in a chroot that it is version '$said', not $(version)."
  done
  cp -R "$out/whole/$cache" "$out/app/$cache"
}

version() { sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json; }

# When the image was made: as the caller says, or the last commit, or never.
created_s() {
  if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then printf '%s\n' "$SOURCE_DATE_EPOCH"; else git log -1 --format=%ct 2>/dev/null || printf '0\n'; fi
}

packed() { tar -c --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu "$@"; }

pack() {
  for layer in base app; do
    packed -C "$out/$layer" . >"$out/$layer.tar"
    gzip -6 -n -k "$out/$layer.tar"
  done
  mkdir "$out/oci"
  node_modules/.bin/node --disable-warning=ExperimentalWarning tools/image/archive.ts "$out" "$(created_s)" >"$out/name"
  packed -C "$out/oci" oci-layout index.json blobs >build/fairlead-image.tar.new
  mv build/fairlead-image.tar.new build/fairlead-image.tar
  printf 'image: %s\nimage: build/fairlead-image.tar, %s MB; unpacked %s MB\n' "$(cat "$out/name")" \
    "$(du -m build/fairlead-image.tar | cut -f 1)" "$(du -scm "$out/base" "$out/app" | sed -n 's/\ttotal//p')"
}

case "${1:-}" in
'' | tree) ;;
*) refuse "usage: tools/image.sh [tree]" ;;
esac
check_machine
# One maker at a time: two would mix their trees.
exec 9>build/image.lock
flock -n 9 || refuse "another tools/image.sh is at work in this folder; wait for it or end it."
rm -rf "$out"
mkdir -p "$out"
make_base
make_app
compile_ahead
for layer in base app; do chmod -R u=rwX,go=rX "$out/$layer"; done
chmod 1777 "$out/base/tmp"
[ "${1:-}" = tree ] || pack
