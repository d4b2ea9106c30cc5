#!/bin/sh
# install.sh BUILD: `make install` into an empty folder; a program built with pkg-config alone compiles a rule and calls it.
set -eu
build=$1; root=$(mktemp -d); trap 'rm -rf "$root"' EXIT
make --no-print-directory BUILD="$build" install PREFIX=/opt DESTDIR="$root" > /dev/null
for f in bin/optc lib/liboptc.so lib/liboptc.a include/optc.h include/optc_abi.h lib/pkgconfig/optc.pc share/optc/rules/adamw.opt; do
  [ -e "$root/opt/$f" ] || { echo "missing: $f"; exit 1; }
done
cat > "$root/use.c" <<'END'
#include <optc.h>
#include <stdio.h>
int main(void) {
  optc_context *cx = optc_context_new(NULL);
  optc_rule *rule;
  if (optc_compile_file(cx, RULE, NULL, &rule)) { fputs(optc_context_diagnostics(cx), stderr); return 1; }
  printf("%s: %d operands\n", optc_rule_name(rule), optc_rule_operands(rule));
  optc_rule_free(rule);
  optc_context_free(cx);
  return 0;
}
END
flags="-I$root/opt/include -L$root/opt/lib -loptc"
if command -v pkg-config > /dev/null; then
  flags=$(PKG_CONFIG_PATH="$root/opt/lib/pkgconfig" pkg-config --define-variable=prefix="$root/opt" --cflags --libs optc)
else echo "skipped: pkg-config is not installed; flags given by hand"; fi
cc -Wall -Werror -DRULE="\"$root/opt/share/optc/rules/adamw.opt\"" "$root/use.c" $flags -o "$root/use"
LD_LIBRARY_PATH="$root/opt/lib" OPTC_CACHE_DIR="$root/cache" "$root/use"
make --no-print-directory BUILD="$build" uninstall PREFIX=/opt DESTDIR="$root" > /dev/null
[ ! -e "$root/opt/bin/optc" ] && [ ! -e "$root/opt/lib/liboptc.so" ]
