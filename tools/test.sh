#!/usr/bin/env bash
# Runs the tiers of tests and counts them: what belongs to a tier, its bounds, what it left on the machine, the closing line.
#
# usage: tools/test.sh check|unit|native|kernel|lab|cluster [file...]   one tier, or some of its files (all but check and native)
#        tools/test.sh all                                              every tier but cluster, whatever fails before, and a summary
# With CI=true a skipped test is a failed test.
set -euo pipefail
umask 022
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
export LC_ALL=C PATH="$PWD/node_modules/.bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin"
unset CDPATH NODE_OPTIONS NODE_TEST_CONTEXT

tiers=(check unit native kernel lab)
tier_timeout_s=2700
# Of one test and of one file with all its tests. Each file of the tier cluster runs a Kubernetes of its own.
test_timeout_ms() { case $1 in cluster) echo 1500000 ;; kernel | lab) echo 300000 ;; *) echo 120000 ;; esac }
# Tests of kernel and lab wait for some 40 % of their time: one more at once than there are cores.
files_at_once() { case $1 in cluster) echo 1 ;; kernel | lab) echo 3 ;; *) echo 2 ;; esac }
settle_tries_max=150 # of 0.1 s each: a deleted namespace takes its links with it a little later
out=build/test

refuse() {
  printf 'test: %s\n' "$*" >&2
  exit 2
}

# A tier's own bound: the program gets SIGTERM, and SIGKILL 15 s later; Ctrl-C still reaches it.
bounded() { timeout --foreground --kill-after=15 "$tier_timeout_s" "$@"; }

# What a tier has to say: passed, failed, skipped; the summary reads it.
record() { printf '%s %s %s\n' "$2" "$3" "$4" >"$out/$1.result"; }

# Gives the tier's files, one a line. A file's name alone says where it belongs.
tier_files() {
  local dirs=() dir
  for dir in src lab tools test bench; do [ ! -d "$dir" ] || dirs+=("$dir"); done
  case $1 in
  unit) find "${dirs[@]}" -name '*.test.ts' ! -name '*.kernel.test.ts' ! -name '*.lab.test.ts' ! -name '*.cluster.test.ts' ;;
  *) find "${dirs[@]}" -name "*.$1.test.ts" ;;
  esac | sort
}

# The names in the machine's own network that a test could leave behind.
network() {
  {
    ip netns list | sed 's/ .*//; s/^/namespace /'
    ip -o link show | sed 's/^[0-9]*: \([^:@]*\).*/link \1/'
    nft list tables
  } | sort
}

# Compares with the network before the tier; prints what came or went, and fails if anything did.
network_unchanged() {
  local before=$1 tries=0 changes
  while :; do
    changes=$(diff <(printf '%s\n' "$before") <(network) | sed -n 's/^> /left behind: /p; s/^< /removed: /p')
    [ -n "$changes" ] || return 0
    tries=$((tries + 1))
    [ "$tries" -lt "$settle_tries_max" ] || break
    sleep 0.1
  done
  printf 'the machine'\''s own network is not as it was before this tier:\n%s\n' "$changes"
  return 1
}

# The number that node's junit report gives under a name; nothing where the report is cut off.
reported() { sed -n "s/^\t<!-- $1 \([0-9]*\) -->$/\1/p" "$2"; }

skipped_names() {
  awk '
    match($0, /<testcase name="[^"]*"/) { name = substr($0, RSTART + 16, RLENGTH - 17); file = ""
      if (match($0, / file="[^"]*"/)) file = substr($0, RSTART + 7, RLENGTH - 8) }
    match($0, /<skipped type="[^"]*"/) { print "  " substr($0, RSTART + 15, RLENGTH - 16) ": " name " (" file ")" }
  ' "$1" | sed "s|($PWD/|(|; s/&quot;/\"/g; s/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g"
}

# What failed and why, in few lines: the end of a long log is all that some people ever see of it.
failures_shown_max=12
failures_of() {
  awk -v most="$failures_shown_max" '
    match($0, /<testcase name="[^"]*"/) { name = substr($0, RSTART + 16, RLENGTH - 17); file = ""
      if (match($0, / file="[^"]*"/)) file = substr($0, RSTART + 7, RLENGTH - 8)
      if (!match($0, / failure="[^"]*"/)) next
      if (++failures > most) next
      print name " (" file ")"
      count = split(substr($0, RSTART + 10, RLENGTH - 11), lines, "&#10;")
      for (i = shown = 0; ++i <= count && shown < 6;) if (lines[i] ~ /[^ ]/) { print "  " substr(lines[i], 1, 200); shown++ } }
    END { if (failures > most) print "and " failures - most " more" }
  ' "$1" | sed "s|($PWD/|(|; s/&quot;/\"/g; s/&lt;/</g; s/&gt;/>/g; s/&#9;/ /g; s/&amp;/\&/g"
}

# The next two change the caller's passed, failed and skipped.

# A run that broke off, or counted nothing, has failed whatever it counted so far.
fail_if_hollow() {
  [ "$failed" -eq 0 ] || return 0
  [ "$2" -ne 0 ] || [ "$passed" -eq 0 ] || return 0
  printf 'test: the tier %s ended with status %s and no failure to show for it.\n' "$1" "$2" | tee -a "$out/$1.failures" >&2
  failed=1
}

# Nobody looks at what CI skipped.
judge_skipped() {
  [ "${CI:-}" = true ] || return 0
  failed=$((failed + skipped))
  skipped=0
}

# Files that ended well but told of no test (they called process.exit, or hold none): node counts each as one passed test.
hollow_files() { sed -n 's|^\t<testcase name="\([^"]*\.test\.ts\)" .*/>$|\1|p' "$1"; }

run_node_tier() {
  local tier=$1 files=() file before="" status=0 passed failed skipped hollow
  shift
  if [ "$#" -gt 0 ]; then
    for file in "$@"; do
      tier_files "$tier" | grep -qxF -- "${file#./}" || refuse "$file is no test file of the tier $tier; see tools/test.sh for which file belongs where."
    done
    files=("$@")
  else
    mapfile -t files < <(tier_files "$tier")
  fi
  if [ "${#files[@]}" -eq 0 ]; then
    printf 'test: the tier %s has no test file; an empty tier proves nothing.\n' "$tier" >&2
    record "$tier" 0 1 0
    return
  fi
  if [ "$tier" != unit ]; then
    [ "$(id -u)" = 0 ] || refuse "the tier $tier makes network namespaces and needs root; run it with sudo or as root."
    before=$(network)
  fi
  : >"$out/$tier.xml" # a run that is killed writes none
  bounded node --test --test-concurrency="$(files_at_once "$tier")" --test-timeout="$(test_timeout_ms "$tier")" \
    --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=junit --test-reporter-destination="$out/$tier.xml" "${files[@]}" || status=$?
  failures_of "$out/$tier.xml" >"$out/$tier.failures"
  hollow=$(hollow_files "$out/$tier.xml")
  passed=$(($(reported pass "$out/$tier.xml") + 0))
  failed=$(($(reported fail "$out/$tier.xml") + $(reported cancelled "$out/$tier.xml") + 0))
  skipped=$(($(reported skipped "$out/$tier.xml") + $(reported todo "$out/$tier.xml") + 0))
  for file in $hollow; do
    printf 'test: %s ran no test.\n' "$file" | tee -a "$out/$tier.failures" >&2
    passed=$((passed - 1))
    failed=$((failed + 1))
  done
  fail_if_hollow "$tier" "$status"
  if [ "$skipped" -gt 0 ]; then
    printf 'test: %s skipped in the tier %s:\n' "$skipped" "$tier" >&2
    skipped_names "$out/$tier.xml" >&2
    [ "${CI:-}" != true ] || skipped_names "$out/$tier.xml" >>"$out/$tier.failures"
  fi
  judge_skipped
  [ "$tier" = unit ] || network_unchanged "$before" | tee -a "$out/$tier.failures" >&2 || failed=$((failed + 1))
  record "$tier" "$passed" "$failed" "$skipped"
}

# Each step of the check is one test; all of them run, so that one look shows everything.
run_check() {
  local passed=0 failed=0
  step() {
    local name=$1
    shift
    if bounded "$@" >"$out/check.log" 2>&1; then
      passed=$((passed + 1))
      printf '✔ %s\n' "$name"
    else
      failed=$((failed + 1))
      printf '✖ %s\n' "$name" | tee -a "$out/check.failures"
      cat "$out/check.log"
    fi
  }
  step "types (tsc)" tsc -p .
  step "lint (oxlint)" oxlint --type-aware --deny-warnings .
  step "format (oxfmt)" oxfmt --check .
  step "rules of the code (tidy)" node tools/tidy.ts
  step "C format (clang-format)" bash -c 'find native bench -name "*.[ch]" -exec clang-format --dry-run --Werror {} +'
  step "shell syntax" bash -c 'set -e; bash -n .ci/run; bash -n tools/test.sh; sh -n tools/machine.sh; sh -n tools/image.sh; sh -n tools/image/dockerfile.sh; sh -n test/reference/build.sh; sh -n test/upstream/build.sh; sh -n test/cluster/machine.sh; sh -n bin/fairlead'
  record check "$passed" "$failed" 0
}

# native/test/run.sh says "ok", "FAILED" or "skipped" at the head of one line for each driver.
run_native() {
  local status=0 passed failed skipped
  bounded "${MAKE:-make}" --no-print-directory -C native test 2>&1 | tee "$out/native.log" || status=$?
  passed=$(grep -c '^ok ' "$out/native.log" || true)
  failed=$(grep -c '^FAILED ' "$out/native.log" || true)
  skipped=$(grep -c '^skipped ' "$out/native.log" || true)
  grep '^FAILED ' "$out/native.log" >"$out/native.failures" || true
  fail_if_hollow native "$status"
  judge_skipped
  record native "$passed" "$failed" "$skipped"
}

run_tier() {
  local tier=$1 started=$SECONDS
  shift
  printf '\n== %s\n' "$tier"
  rm -f "$out/$tier.result" "$out/$tier.failures"
  # Its files took 33 minutes together on two cores that had much else to do.
  if [ "$tier" = cluster ]; then tier_timeout_s=3000; fi
  case $tier in
  check) run_check ;;
  native) run_native ;;
  *) run_node_tier "$tier" "$@" ;;
  esac
  printf '%s\n' "$((SECONDS - started))" >>"$out/$tier.result"
}

# Prints what failed, one line a tier and, last, the count over all of them. Fails if anything failed or a tier left no record.
summary() {
  local tier passed failed skipped seconds passed_all=0 failed_all=0
  for tier in "$@"; do
    [ ! -s "$out/$tier.failures" ] || { printf '\nfailed in the tier %s:\n' "$tier" && cat "$out/$tier.failures"; }
  done
  printf '\n%-8s %8s %8s %8s %8s\n' tier passed failed skipped seconds
  for tier in "$@"; do
    { read -r passed failed skipped && read -r seconds; } <"$out/$tier.result" || refuse "the tier $tier left no result."
    printf '%-8s %8s %8s %8s %8s\n' "$tier" "$passed" "$failed" "$skipped" "$seconds"
    passed_all=$((passed_all + passed))
    failed_all=$((failed_all + failed))
  done
  printf '\n%s passed, %s failed\n' "$passed_all" "$failed_all"
  [ "$failed_all" -eq 0 ]
}

trap 'exit 130' INT TERM HUP
[ -x node_modules/.bin/node ] || refuse "node_modules is not installed; run make setup."
mkdir -p "$out"
case "${1:-}" in
all)
  for tier in "${tiers[@]}"; do run_tier "$tier"; done
  summary "${tiers[@]}"
  ;;
check | unit | native | kernel | lab | cluster)
  run_tier "$@"
  summary "$1"
  ;;
*) refuse "usage: tools/test.sh all, or check|unit|native|kernel|lab|cluster [file...]" ;;
esac
