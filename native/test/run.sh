#!/bin/sh
# Runs every C test driver below the directory $1, each within a time limit; prints one line for each. Fails where one fails.
# The fuzzers are there where the compiler $2 is.
set -u
tests=$1
driver_seconds=40
fuzz_seconds=10
failures=0

# report NAME COMMAND...: the command's own last line where it passes, all that it said where it does not.
report() {
  name=$1
  shift
  if "$@" >"$tests/log" 2>&1; then
    echo "ok      $name: $(tail -n 1 "$tests/log")"
  else
    echo "FAILED  $name"
    tail -n 40 "$tests/log"
    failures=$((failures + 1))
  fi
}

bounded() {
  timeout -k 2 "$driver_seconds" "$@"
}

fuzz() {
  bounded "$tests/$1-fuzz" -max_total_time="$fuzz_seconds" -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="$tests/" "$tests/corpus/$1" 2>&1 || return 1
  sed -n 's/^stat::number_of_executed_units: */inputs tried: /p' "$tests/log"
}

for kind in exchange lane shim door; do
  report "$kind under address and undefined-behaviour checks" bounded "$tests/$kind-address"
done
for kind in exchange lane; do
  # The thread checker needs its shadow memory at fixed places.
  report "$kind under the thread checker" bounded setarch -R "$tests/$kind-thread"
done
if command -v "$2" >/dev/null; then
  rm -rf "$tests/corpus"
  sh "$(dirname "$0")/seeds.sh" "$tests/corpus"
  report "fuzzing of netlink answers" fuzz netlink
  report "fuzzing of the shim's frames" fuzz shim
else
  echo "skipped fuzzing: it needs clang"
fi
[ "$failures" -eq 0 ]
