#!/bin/sh
# run.sh BUILD SUITE...: runs test programs and other checks, prints each one's count, what was skipped, and the sum; exit 1 when anything failed.
# A SUITE is a CUnit program of BUILD/tests, or NAME=COMMAND, which counts as one test.
build=$1; shift
passed=0; failed=0; log=$build/tests/log; mkdir -p "$log"; : > "$log/skipped"
export OPTC="$build/optc" OPTC_BUILD="$build"
for suite in "$@"; do
  begun=$(date +%s)
  case $suite in
  *=*) name=${suite%%=*}; command=${suite#*=}
    if sh -c "$command" > "$log/$name.log" 2>&1; then p=1; f=0; else p=0; f=1; fi ;;
  *) name=$suite
    "$build/tests/$suite" > "$log/$name.log" 2>&1; code=$?
    counts=$(awk '$1 == "tests" && NF >= 6 { p += $4; f += $5 } END { print p + 0, f + 0 }' "$log/$name.log")
    p=${counts% *}; f=${counts#* }
    if [ "$code" -ne 0 ] && [ "$f" = 0 ]; then f=1; echo "exit status $code" >> "$log/$name.log"; fi
    if [ "$p" = 0 ] && [ "$f" = 0 ]; then f=1; echo "no test ran" >> "$log/$name.log"; fi ;;
  esac
  printf '%-34s %5d passed, %d failed %5d s\n' "$name" "$p" "$f" $(($(date +%s) - begun))
  [ "$f" = 0 ] || { echo "--- $log/$name.log"; grep -vE '^$' "$log/$name.log" | tail -40; echo "---"; }
  grep -i '^ *skipped' "$log/$name.log" | sed "s/^ */$name: /" >> "$log/skipped"
  passed=$((passed + p)); failed=$((failed + f))
done
sort -u "$log/skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
