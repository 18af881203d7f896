#!/bin/sh
# Makes the machine fit: checks it, installs missing Debian packages, installs the Node modules; each refusal is one sentence with its cure.
#
# usage: tools/machine.sh run      what `make demo` and the agent need
#        tools/machine.sh dev      the same, and what `make test` needs
#        tools/machine.sh cluster  what `make demo` needs, and what `make cluster` needs beside Go
#        tools/machine.sh image    what `make image` needs; it asks nothing of the kernel
#        tools/machine.sh modules  node_modules as package-lock.json says, if they are not
set -eu
umask 022
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
unset CDPATH NODE_OPTIONS

cd -- "$(dirname -- "$0")/.."
mkdir -p build

node_major_min=20
apt_lock_wait_s=120
setup_wait_s=600

refuse() {
  printf 'machine: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

check_system() {
  [ "$(uname -s)" = Linux ] || refuse "this is $(uname -s), but network namespaces need Linux; use a Linux machine or virtual machine."
  [ "$(id -u)" = 0 ] || refuse "root is needed to make network namespaces; run the same command with sudo or as root."
}

check_node() {
  hint="on Debian 13 or newer: apt-get install nodejs npm; elsewhere see https://nodejs.org/en/download"
  if [ -n "${SUDO_USER:-}" ]; then hint="$hint; if $SUDO_USER has it, run: sudo env \"PATH=\$PATH\" make setup"; fi
  have node || refuse "node is not in the PATH; install Node.js $node_major_min or newer ($hint)."
  version=$(node --version 2>/dev/null) || refuse "$(command -v node) does not run; install Node.js $node_major_min or newer ($hint)."
  major=${version#v}
  major=${major%%.*}
  case $major in
  '' | *[!0-9]*) refuse "$(command -v node) gives the version '$version', which is none; install Node.js $node_major_min or newer ($hint)." ;;
  esac
  [ "$major" -ge "$node_major_min" ] || refuse "node $version is too old; install Node.js $node_major_min or newer ($hint)."
  have npm || refuse "npm is not in the PATH; install npm ($hint)."
}

# Each need is tested by what it gives, never by a package's name, so that other distributions and hand-made installations pass.
c_headers() { have gcc && printf '#include <stdio.h>\n#include <linux/netlink.h>\n' | gcc -fsyntax-only -x c - 2>/dev/null; }
musl_compiler() { have musl-gcc && printf '#include <stdio.h>\n' | musl-gcc -fsyntax-only -x c - 2>/dev/null; }
ca_bundle() { [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -s /etc/ssl/cert.pem ] || [ -s /etc/pki/tls/certs/ca-bundle.crt ]; }
seccomp_headers() { have pkg-config && pkg-config --exists libseccomp; }
# In the cluster's test image it stands without its libraries.
static_busybox() { have busybox && ! ldd "$(command -v busybox)" >/dev/null 2>&1; }
fuzzer_runtime() {
  have clang || return 1
  for name in "libclang_rt.fuzzer-$(uname -m).a" libclang_rt.fuzzer.a; do
    # clang gives the name back unchanged where it has no such file.
    [ "$(clang -print-file-name="$name")" = "$name" ] || return 0
  done
  return 1
}

# The package of the fuzzer's runtime is named after clang's major version, or comes with clang itself: what apt offers decides.
fuzzer_package() {
  if have clang; then
    llvm=$(clang -dumpversion)
    llvm=${llvm%%.*}
  else
    llvm=$(apt-cache depends clang 2>/dev/null | sed -n 's/^ *Depends: clang-\([0-9][0-9]*\)$/\1/p' | head -n 1)
  fi
  for package in "libclang-rt-$llvm-dev" "libclang-common-$llvm-dev" libclang-rt-dev; do
    if apt-cache show "$package" >/dev/null 2>&1; then
      printf '%s\n' "$package"
      return
    fi
  done
  printf 'libclang-rt-dev\n'
}

# Gives the names of the missing packages, in one line.
missing_packages() {
  need() { # need PACKAGE COMMAND...: the command must succeed
    package=$1
    shift
    "$@" || printf '%s ' "$package"
  }
  need gcc have gcc
  need libc6-dev c_headers
  need musl-tools musl_compiler
  need make have make
  need openssl have openssl
  need ca-certificates ca_bundle
  if [ "$1" = image ]; then
    need binutils have strip
    return
  fi
  need iproute2 have ip
  need nftables have nft
  need conntrack have conntrack
  need iputils-ping have ping
  need procps have ps
  if [ "$1" = dev ]; then
    need clang have clang
    need clang-format have clang-format
    fuzzer_runtime || printf '%s ' "$(fuzzer_package)"
    need strace have strace
    need iptables have iptables
    need jq have jq
    need kubernetes-client have kubectl
    need python3 have python3
  fi
  if [ "$1" = cluster ]; then
    need pkg-config have pkg-config
    need libseccomp-dev seccomp_headers
    need iptables have iptables
    need busybox-static static_busybox
    need bash have bash
    need dash have dash
    need curl have curl
    need bind9-dnsutils have dig
    need netcat-openbsd have nc.openbsd
  fi
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get -qq -y --no-install-recommends \
    -o DPkg::Lock::Timeout="$apt_lock_wait_s" -o Dpkg::Use-Pty=0 install "$@" >build/apt.log 2>&1 </dev/null
}

check_packages() {
  missing=$(missing_packages "$1")
  [ -n "$missing" ] || return 0
  have apt-get || refuse "these Debian packages or their like are missing: ${missing% }; there is no apt-get here, so install them with this system's own package tool."
  printf 'machine: installing Debian packages: %s\n' "${missing% }"
  # The lists are refreshed only where they do not serve: empty (a fresh image), or older than the archive.
  # shellcheck disable=SC2086 # the list is split into names on purpose
  if ! apt_install $missing; then
    # A failed refresh of one archive among several is no failure: the second installation decides.
    apt-get -qq -o DPkg::Lock::Timeout="$apt_lock_wait_s" update >build/apt-update.log 2>&1 </dev/null || true
    missing=$(missing_packages "$1")
    # shellcheck disable=SC2086
    apt_install $missing || {
      tail -n 20 build/apt-update.log build/apt.log >&2
      refuse "apt-get could not install ${missing% } (its words are above); install them by hand: apt-get install ${missing% }"
    }
  fi
  hash -r
  missing=$(missing_packages "$1")
  [ -z "$missing" ] || refuse "${missing% }: installed but still not usable; look at build/apt.log and the PATH ($PATH)."
}

# What the product asks of a kernel, asked of this one in a namespace that is gone afterwards.
probe_ruleset='table inet probe {
  set pairs { type ifname . ipv4_addr; elements = { "lo" . 192.0.2.1 } }
  chain before { type filter hook prerouting priority raw; iifname . ip saddr @pairs accept; }
  chain between { type filter hook forward priority filter; ct state established,related counter accept; }
}'

check_kernel() {
  [ -e /proc/self/ns/net ] || refuse "this kernel has no network namespaces; boot one with CONFIG_NET_NS (every distribution's own kernel has it)."
  probe=flab-setup-$$
  ip netns add "$probe" 2>build/probe.log ||
    refuse "a network namespace cannot be made here ($(head -n 1 build/probe.log)); use a virtual machine, or a container started with --privileged."
  trap 'ip netns delete "$probe" 2>/dev/null || true' EXIT
  trap 'exit 130' INT TERM HUP
  inside() { ip netns exec "$probe" "$@" 2>build/probe.log; }
  inside ip link add fl-probe type veth peer name fl-probe-2 ||
    refuse "this kernel makes no veth links ($(head -n 1 build/probe.log)); load the module veth (modprobe veth) or boot a distribution's own kernel."
  printf '%s\n' "$probe_ruleset" | inside nft -f - ||
    refuse "this kernel's nftables lack what is needed ($(head -n 1 build/probe.log)); load nf_tables and nft_ct (modprobe) or boot a distribution's own kernel, 5.15 or newer."
  inside test -e /proc/net/netfilter ||
    refuse "/proc/net/netfilter is missing in a network namespace; boot a kernel with CONFIG_NETFILTER and mount /proc."
  ip netns delete "$probe"
  trap - EXIT INT TERM HUP
}

# node_modules fit while this text is the stamp's: the same architecture, the same package files.
modules_want() { printf '%s\n' "$(uname -m)" && cksum package.json package-lock.json .npmrc; }
modules_fit() { [ -e build/modules.stamp ] && [ -x node_modules/.bin/node ] && modules_want | cmp -s - build/modules.stamp; }

# True where both files ask for the same packages: what npm is to install is then in the lock, version and checksum.
lock_matches() {
  node -e '
    const [own, { packages }] = ["package.json", "package-lock.json"].map((file) => JSON.parse(require("fs").readFileSync(file)));
    const wanted = (part) => ["dependencies", "devDependencies", "optionalDependencies"].map((kind) => Object.entries(part[kind] ?? {}).sort());
    process.exit(JSON.stringify(wanted(own)) === JSON.stringify(wanted(packages[""])) ? 0 : 1);
  '
}

# `npm ci` would be the plain way, but it refuses a lock without the packages that only other operating systems use, and npm leaves
# them out of the lock wherever the registry at hand does not carry them. With --no-save, install goes by the lock and leaves it alone.
# Settings are said in full, because a user's or machine's own may omit, redirect or only pretend.
npm_install() {
  npm install --no-save --package-lock=true --include=prod --include=dev --include=optional --global=false --dry-run=false \
    --bin-links=true --ignore-scripts=true --workspaces=false --engine-strict=false --audit=false --fund=false \
    --prefix "$(pwd)" >build/npm.log 2>&1 </dev/null 9>&- || {
    tail -n 30 build/npm.log >&2
    refuse "npm install failed (its words are above, all of them in build/npm.log); check that this machine reaches npm's registry, then run make setup again."
  }
}

node_runs() { [ -x node_modules/.bin/node ] && node_modules/.bin/node --version >/dev/null 2>&1; }

check_modules() {
  ! modules_fit || return 0
  # One installer at a time: two `make` at once would remove each other's files.
  exec 9>build/modules.lock
  flock -w "$setup_wait_s" 9 || refuse "another installation has held build/modules.lock for $setup_wait_s s; wait for it or end it."
  ! modules_fit || return 0
  lock_matches || refuse "package-lock.json does not hold what package.json asks for; run npm install and commit the lock."
  printf 'machine: installing Node modules by package-lock.json\n'
  rm -f build/modules.stamp
  npm_install
  # A tree that was copied from a machine of another architecture looks complete to npm.
  node_runs || {
    rm -rf node_modules
    npm_install
  }
  node_runs || refuse "npm brought no usable Node for $(uname -m); Fairlead runs on x86_64 and aarch64 with glibc."
  modules_want >build/modules.stamp.new
  mv build/modules.stamp.new build/modules.stamp
}

case "${1:-}" in
run | dev | cluster)
  check_system
  check_node
  check_packages "$1"
  check_kernel
  ;;
image)
  check_system
  check_node
  check_packages "$1"
  ;;
modules)
  check_node
  check_modules
  ;;
*) refuse "usage: tools/machine.sh run|dev|cluster|image|modules" ;;
esac
