# coverage.awk: gcov's summaries, one line a room and one a file that has the most lines left over.
/^File / { gsub("'", "", $2); file = $2; next }
/^Lines executed:/ && file ~ /^(ir|frontend|passes|backends|runtime)\/.*\.c$/ {
  split($2, part, /[:%]/); n = $NF; room = file; sub("/.*", "", room)
  lines[room] += n; run[room] += n*part[2]/100; left[file] = n*(1 - part[2]/100); size[file] = n
}
{ file = "" }
END {
  for (r in lines) { printf "%-10s %6d lines %6.1f%% run\n", r, lines[r], 100*run[r]/lines[r] | "sort"; all += lines[r]; ran += run[r] }
  close("sort")
  if (all) printf "%-10s %6d lines %6.1f%% run\nnot run, by file:\n", "together", all, 100*ran/all
  for (f in left) if (left[f] >= 0.5) printf "%6d of %5d  %s\n", left[f] + 0.5, size[f], f | "sort -rn | head -20"
}
