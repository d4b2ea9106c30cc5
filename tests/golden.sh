#!/bin/sh
# golden.sh OPTC BACKEND LEVEL: every recorded file agrees with its rule, forward and backward, except those that tests/golden/departures names, which depart.
optc=$1; backend=$2; level=$3; said=$(mktemp); trap 'rm -f "$said"' EXIT
"$optc" check tests/golden/optim/*.json tests/golden/attention/*.json --backend="$backend" "$level" > "$said" 2>&1
code=$?
files=$(ls tests/golden/optim/*.json tests/golden/attention/*.json | wc -l)
good=$(awk '$1 == "ok" { sub(/:$/, "", $2); print $2 }' "$said" | sort -u | wc -l)
wrong=$(awk '$1 != "ok" && /\.json/' "$said" | sed 's/.*golden\/\([a-z]*\/[a-z0-9_]*\.json\).*/\1/' | sort -u)
known=$(awk '!/^#/ && NF { print $1 }' tests/golden/departures | sort -u)
echo "$backend $level: $good of $files files agree"
if [ "$wrong" != "$known" ] || [ "$code" != 3 ] || [ $((good + $(echo "$known" | wc -l))) -ne "$files" ]; then
  grep -v '^ok' "$said" | cut -c1-300; exit 1
fi
