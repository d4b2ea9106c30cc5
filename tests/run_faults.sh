#!/bin/sh
# run_faults.sh: what tests/run.sh says of suites that fail, crash, say nothing or stop the runner, and that it keeps their order.
set -eu
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
mkdir "$folder/tests"
# suite NAME LINE...: a test program
suite() { name=$1; shift; { echo '#!/bin/sh'; printf '%s\n' "$@"; } > "$folder/tests/$name"; chmod +x "$folder/tests/$name"; }
summary() { echo "echo '               tests $1 $1 $2 $3        0'"; }
suite slow 'sleep 1' "$(summary 5 5 0)"
suite quick "$(summary 3 3 0)" 'echo "  skipped: half of it (no such machine)"'
suite wrong 'echo "expected 1"' "$(summary 4 3 1)" 'exit 1'
suite crash "$(summary 2 2 0)" 'kill -SEGV $$'
suite silent 'exit 0'
suite stops 'kill -KILL $PPID; sleep 1'
# said JOBS SUITE...: what the runner says, without times
said() { jobs=$1; shift; { OPTC_TEST_JOBS=$jobs tests/run.sh "$folder" "$@" 2>/dev/null && echo "exit 0" || echo "exit 1"; } | sed 's/ *[0-9]* s$//; s/  */ /g'; }
# agrees WHAT: standard input is what was expected of $folder/said
agrees() { sed "s|FOLDER|$folder|" > "$folder/expected"; diff "$folder/expected" "$folder/said" || { echo "$1"; exit 1; }; }

said 3 slow quick "good=true" > "$folder/said"
agrees "suites that pass" <<'END_SAID'
slow 5 passed, 0 failed
quick 3 passed, 0 failed
good 1 passed, 0 failed
quick: skipped: half of it (no such machine)
9 passed, 0 failed
exit 0
END_SAID
for jobs in 1 2; do
  said $jobs slow wrong crash silent nowhere "bad=echo no; exit 3" quick | grep -v -e '^ tests' -e ': not found' -e '^Segmentation fault' > "$folder/said"
  agrees "suites that fail, $jobs at a time" <<'END_SAID'
slow 5 passed, 0 failed
wrong 3 passed, 1 failed
--- FOLDER/tests/log/wrong.log
expected 1
---
crash 2 passed, 1 failed
--- FOLDER/tests/log/crash.log
exit status 139
---
silent 0 passed, 1 failed
--- FOLDER/tests/log/silent.log
no test ran
---
nowhere 0 passed, 1 failed
--- FOLDER/tests/log/nowhere.log
exit status 127
---
bad 0 passed, 1 failed
--- FOLDER/tests/log/bad.log
no
---
quick 3 passed, 0 failed
quick: skipped: half of it (no such machine)
13 passed, 5 failed
exit 1
END_SAID
done
said 1 quick stops slow > "$folder/said"
grep -q 'stops 0 passed, 1 failed' "$folder/said" && grep -q 'exit 1' "$folder/said" || { cat "$folder/said"; echo "a runner that is stopped says nothing of it"; exit 1; }
echo "the runner: ok"
