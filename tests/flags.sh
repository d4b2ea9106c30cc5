#!/bin/sh
# flags.sh: an object is made anew when its flags change, and only then.
set -eu
build=$(mktemp -d); trap 'rm -rf "$build"' EXIT
object=$build/obj/ir/arena.o
unset MAKEFLAGS MFLAGS MAKEOVERRIDES || true
# made N ARGUMENT...: make with these arguments compiles N objects
made() {
  wanted=$1; shift
  n=$(make --no-print-directory BUILD="$build" V=1 "$@" "$object" | grep -c 'ir/arena.c -o' || true)
  [ "$n" = "$wanted" ] || { echo "make $*: $n objects compiled, expected $wanted"; exit 1; }
}
made 1
made 0
made 1 EXTRA=-DOPTC_SOMETHING
made 0 EXTRA=-DOPTC_SOMETHING
made 1 MODE=debug
made 0 MODE=debug
made 1
make --no-print-directory BUILD="$build" help > "$build/help"
made 0
echo "flags: ok"
