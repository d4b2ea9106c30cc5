#!/bin/sh
# shards.sh OPTC WORK: rules whose tensors are shared by 1, 2 and 4 MPI ranks have the bits of one process with whole tensors.
set -eu
optc=$1 work=$2
if ! command -v mpicc >/dev/null 2>&1 || ! command -v mpirun >/dev/null 2>&1; then echo "skipped: sharded steps (no MPI here)"; exit 0; fi
export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
passed=0 failed=0
# What reduces rows, columns or matrices takes whole tensors.
build_rule() {
  file=${1%%:*} name=${1##*:} dir=$work/$name
  mkdir -p "$dir"
  "$optc" "rules/$file.opt" --rule "$name" -o "$dir/$name.o" --header "$dir/$name.h"
  printf '#include "%s.h"\n#define RULE(x) %s_##x\n#define RULE_NAME "%s"\n#define RULE_DEFAULTS %s_HYPER_DEFAULTS\n#define RULE_N_STATES %s_N_STATES\n#define RULE_STATES (RULE_N_STATES + 1)\n' \
    "$name" "$name" "$name" "$name" "$name" > "$dir/demo_rule.h"
  mpicc -std=gnu11 -O2 -Wall -Wextra -Werror -I"$dir" runtime/demo/sharded.c "$dir/$name.o" -o "$dir/sharded"
}
for rule in lamb:lamb lamb:lamb_nv prodigy:prodigy clip:clip_sgd auon:auon; do
  build_rule $rule
  whole=$("$dir/sharded" --whole 3)
  for ranks in 1 2 4; do
    shared=$(mpirun -n $ranks "$dir/sharded" 3 2>"$dir/log") || { cat "$dir/log"; shared=failed; }
    if [ "$shared" = "$whole" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "$name, $ranks ranks: $shared is not $whole"; fi
  done
  echo "$whole, on 1, 2 and 4 ranks"
done
build_rule muon:muon
if mpirun -n 2 "$dir/sharded" 1 2>&1 | grep -q "it takes whole tensors, no shards"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "muon took a shard"; fi
echo "sharded steps: $passed passed, $failed failed"
[ $failed = 0 ]
