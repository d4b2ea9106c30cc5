#!/bin/sh
# edge.sh OPTC WORK guards|heap|races: compiled objects in a host that watches their memory and their threads (tests/edge_host.c).
#   guards  every rule that ships, all memory between closed pages
#   heap    some rules under Valgrind
#   races   some rules with every load and store of their kernels and of the driver watched by ThreadSanitizer, and one whose chunks race, which must be found
set -eu
optc=$1 work=$2 mode=$3
[ "$(uname -m)" = x86_64 ] || { echo "skipped: compiled objects between closed pages, under Valgrind and under ThreadSanitizer (x86-64 only)"; exit 0; }
dir=$work/$mode llvm=$(${LLVM:-llvm-config-19} --bindir)
clang=${CLANG:-clang-19}
rm -rf "$dir" && mkdir -p "$dir"
host="tests/edge_host.c tests/support/trial.c tests/support/drill.c tests/support/fence.c tests/support/shape_text.c tests/support/values.c tests/support/team.c"
flags="-std=gnu11 -O1 -g -Wall -Wextra -Werror -Wno-unused-parameter -ffp-contract=off -I. -iquote ir"
some="adamw lamb lamb_nv adafactor muon adam8bit_blockwise prodigy attention linear_attention"

# NAME... : compiles those rules (none named: all) with the function $1, which is given file, rule.
each_rule() {
  with=$1; shift
  names=" $* "
  for file in rules/*.opt; do
    for name in $(sed -n 's/^rule \([A-Za-z0-9_]*\).*/\1/p' "$file"); do
      case $names in "  "|*" $name "*) $with "$file" "$name"; made="$made $name";; esac
    done
  done
}
compile() { "$optc" "$1" --rule "$2" ${cpu:+--mcpu=$cpu} -o "$dir/$2.o"; }
# Kernels as ThreadSanitizer sees them: one element a load or store, since it passes over vectors, and no driver in machine code.
instrument() {
  sed -e '/^module asm.*\.text\.optc_driver/,${/^module asm/d}' -e '/^attributes.*"target-cpu"/{s/ noinline / /;s/ optnone / /;s/{ /{ sanitize_thread /}' |
    "$llvm/opt" -passes=scalarize-masked-mem-intrin,scalarizer --scalarize-load-store - -o "$dir/$1.bc"
  $clang -fsanitize=thread -O1 -g -fPIC -Wno-override-module -c "$dir/$1.bc" -o "$dir/$1.o"
}
compile_watched() { "$optc" "$1" --rule "$2" --mcpu=x86-64-v2 --emit=llvm-ir -o - | instrument "$2"; }

made=
case $mode in
guards)
  cpu=
  each_rule compile
  cc -shared -nostdlib -Wl,-z,text -o "$dir/rules.so" "$dir"/*.o
  cc $flags $host -o "$dir/host" -ldl -lpthread
  "$dir/host" guards "$dir/rules.so" $made ;;
heap)
  command -v valgrind >/dev/null 2>&1 || { echo "skipped: compiled objects under Valgrind, which is not here"; exit 0; }
  cpu=x86-64-v3                          # no AVX-512 in Valgrind
  each_rule compile $some
  cc -shared -nostdlib -Wl,-z,text -o "$dir/rules.so" "$dir"/*.o
  cc $flags $host -o "$dir/host" -ldl -lpthread
  valgrind --quiet --error-exitcode=9 --fair-sched=yes "$dir/host" heap "$dir/rules.so" $made ;;
races)
  each_rule compile_watched $some
  $clang $flags -DDRIVE_LOCAL=static -fsanitize=thread -fPIC -fvisibility=hidden -c "${OPTC_BUILD:-build}/gen/backends/driver.c" -o "$dir/driver.o"
  $clang $flags -fPIC -S -emit-llvm tests/edge_race.c -o - | instrument race
  $clang -shared -fsanitize=thread "$dir"/*.o -o "$dir/rules.so"
  $clang $flags -fsanitize=thread $host -o "$dir/host" -ldl -lpthread
  export TSAN_OPTIONS="allocator_may_return_null=1 exitcode=66"
  "$dir/host" races "$dir/rules.so" $made
  if "$dir/host" races "$dir/rules.so" race > "$dir/log" 2>&1 || ! grep -q 'data race' "$dir/log"; then cat "$dir/log"; echo "a race between chunks was not found"; exit 1; fi ;;
esac
