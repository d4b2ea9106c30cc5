#!/bin/sh
# docs.sh BUILD: every block of the documentation that starts with a rule, a fn or a `##` of one is compiled, as it stands.
set -eu
build=$1; folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
for page in README.md docs/language.md; do
  awk -v to="$folder/$(basename "$page" .md)" '
    /^```/ { inside = !inside; first = inside; file = ""; next }
    inside && first && /^(rule [a-z_]+\(|fn |## )/ { file = to "_" ++n ".opt" }
    { first = 0; if (file) print > file }' "$page"
done
ls "$folder"/*.opt > "$folder/list"
while read -r rule; do
  "$build/optc" "$rule" -o "$folder/rule.o" || { echo "$(basename "$rule"): does not compile"; exit 1; }
done < "$folder/list"
[ "$(wc -l < "$folder/list")" -ge 7 ] || { echo "blocks are missing"; cat "$folder/list"; exit 1; }
