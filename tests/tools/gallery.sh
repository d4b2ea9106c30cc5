#!/bin/sh
# gallery.sh: the part "Gallery" of rules/README.md, written anew from the rules, rules/index and the recorded data. Run in the root.
set -eu
readme=rules/README.md
new=$(mktemp)
trap 'rm -f "$new"' EXIT
sed '/^## Gallery$/,$d' "$readme" > "$new"
awk '
  # the data: name -> folder
  FILENAME == "-" { n = split($0, part, "/"); name = part[n]; sub(/\.json$/, "", name); data[name] = part[n - 1]; next }
  FILENAME == "rules/index" {
    sub(/#.*/, "")
    if (NF < 3) next
    listed[$1] = 1
    proof[$2 "/" $3] = proof[$2 "/" $3] (proof[$2 "/" $3] == "" ? "" : ", ") $1
    if (NF > 3) { order[$2 "/" $3] = $4; for (i = 5; i <= NF; i++) order[$2 "/" $3] = order[$2 "/" $3] ", " $i }
    next
  }
  FNR == 1 { doc = ""; head = ""; rule = ""; file = FILENAME; sub(/.*\//, "", file) }
  /^##/ { doc = doc (doc == "" ? "" : " ") substr($0, 4); next }
  /^# / && rule == "" && !doc { head = head (head == "" ? "" : " ") substr($0, 3) }
  /^rule / {
    rule = $2; sub(/\(.*/, "", rule)
    key = file "/" rule; rules[++count] = key; first[key] = doc == "" ? head : doc; family[key] = head; entries[key] = ""; lines[key] = 0; inside = 1
  }
  /^(fn|const) / { doc = "" }
  inside {
    if ($0 !~ /^ *(#.*)?$/) lines[key]++
    if ($0 ~ /^  entry [a-z]/) entries[key] = entries[key] ", " $2
    if ($0 ~ /^  backward /) entries[key] = entries[key] ", backward"
    if ($0 ~ /(^  |\{ )(param|state|grad) /) steps[key] = 1
    if ($0 ~ /^}/ || $0 ~ /^rule.*}$/) { inside = 0; doc = "" }
  }
  END {
    print "## Gallery\n"
    print "Written by `make docs` (`tests/tools/gallery.sh`); the texts say more. Lines: of the rule, without documentation.\n"
    print "| rule | what it is | entries | lines | recorded data |\n| --- | --- | --- | --- | --- |"
    for (i = 1; i <= count; i++) {
      key = rules[i]; split(key, part, "/")
      name = part[2]; text = first[key]
      if (match(text, /\. ([A-Z]|[A-Za-z0-9_]+(, [A-Za-z0-9_]+)*: )/)) text = substr(text, 1, RSTART)
      paper = match(first[key] " " family[key], /arXiv [0-9]+\.[0-9]+/) ? substr(first[key] " " family[key], RSTART, RLENGTH) : ""
      if (paper != "" && !index(text, paper)) text = text " " paper
      gsub(/\|/, "\\|", text)
      seen = proof[key]
      if ((name in data) && !(name in listed) && part[1] == name ".opt") seen = name (seen == "" ? "" : ", " seen)
      printf "| [%s](%s) | %s | %s | %d | %s |\n", name, part[1], text, order[key] != "" ? order[key] : (steps[key] ? "step" : "forward") entries[key], lines[key], seen
    }
  }' rules/index - rules/*.opt <<END >> "$new"
$(ls tests/golden/optim/*.json tests/golden/attention/*.json)
END
cat "$new" > "$readme"
