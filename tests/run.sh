#!/bin/sh
# run.sh BUILD SUITE...: runs test programs and other checks, as many at a time as there are processors (OPTC_TEST_JOBS: so many); prints in their order each one's count,
# then what was skipped and the sum; exit 1 when anything failed.
# A SUITE is a CUnit program of BUILD/tests, or NAME=COMMAND, which counts as one test. What runs beside it must not touch the files that it writes.
one=
if [ "$1" = --one ]; then one=$2; shift 2; fi
build=$1; shift
log=$build/tests/log
export OPTC="$build/optc" OPTC_BUILD="$build"

# A suite by itself: the result goes into a file, its number to who waits for it.
run_one() {
  begun=$(date +%s)
  case $1 in
  *=*) name=${1%%=*}; command=${1#*=}
    if sh -c "$command" > "$log/$name.log" 2>&1; then p=1; f=0; else p=0; f=1; fi ;;
  *) name=$1
    "$build/tests/$name" > "$log/$name.log" 2>&1; code=$?
    counts=$(awk '$1 == "tests" && NF >= 6 { p += $4; f += $5 } END { print p + 0, f + 0 }' "$log/$name.log")
    p=${counts% *}; f=${counts#* }
    if [ "$code" -ne 0 ] && [ "$f" = 0 ]; then f=1; echo "exit status $code" >> "$log/$name.log"; fi
    if [ "$p" = 0 ] && [ "$f" = 0 ]; then f=1; echo "no test ran" >> "$log/$name.log"; fi ;;
  esac
  echo "$p $f $(($(date +%s) - begun))" > "$log/$one.unfinished"
  mv "$log/$one.unfinished" "$log/$one.result"
  echo "$one"
}
if [ "$one" ]; then run_one "$1"; exit 0; fi

# The next suite's line; behind it the log's end if it failed.
tell() {
  name=${1%%=*} p=0 f=1 seconds=0
  if [ -e "$log/$next.result" ]; then read -r p f seconds < "$log/$next.result"; else echo "it was not run to its end" > "$log/$name.log"; fi
  printf '%-34s %5d passed, %d failed %5d s\n' "$name" "$p" "$f" "$seconds"
  [ "$f" = 0 ] || { echo "--- $log/$name.log"; grep -vE '^$' "$log/$name.log" | tail -40; echo "---"; }
  grep -i '^ *skipped' "$log/$name.log" | sed "s/^ */$name: /" >> "$log/skipped"
  passed=$((passed + p)) failed=$((failed + f)) next=$((next + 1))
}
tell_all() {
  next=1 passed=0 failed=0
  while read -r number; do
    while [ -e "$log/$next.result" ]; do tell "$1"; shift; done
  done
  while [ $# -gt 0 ]; do tell "$1"; shift; done
  sort -u "$log/skipped"
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
}
mkdir -p "$log"; rm -f "$log"/*.result; : > "$log/skipped"
number=0
for suite in "$@"; do number=$((number + 1)); printf '%s\0' --one $number "$build" "$suite"; done |
  xargs -0 -n 4 -P "${OPTC_TEST_JOBS:-$(getconf _NPROCESSORS_ONLN)}" "$0" | tell_all "$@"
