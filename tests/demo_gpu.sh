#!/bin/sh
# demo_gpu.sh BUILD: the demo with its optimizer on a GPU, a program that links an object and the library: with a driver without a GPU it prints the losses and
# the text of the demo on the CPU; without a driver it says so, and that is no failure.
set -eu
build=$1
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
demo() { where=$1; shift; "${MAKE:-make}" --no-print-directory BUILD="$build" DEMO="$folder/$where" demo STEPS=6 "$@"; }     # in folders of its own
results() { sed -n 's/; [0-9.]* us an optimizer step$//; /^loss [0-9]/p; /^sample: /p'; }
for rule in adamw lion; do
  demo $rule RULE=$rule | results > "$folder/cpu"
  OPTC_CUDA_LIBRARY=$(cd "$build" && pwd)/tests/libcuda_stub.so demo $rule-gpu RULE=$rule GPU=1 | results > "$folder/gpu"
  [ "$(wc -l < "$folder/cpu")" = 2 ] || { echo "$rule: the demo has no results"; exit 1; }
  cmp "$folder/cpu" "$folder/gpu" || { echo "$rule: other numbers on the GPU"; cat "$folder/cpu" "$folder/gpu"; exit 1; }
done
OPTC_CUDA_LIBRARY=/nowhere/libcuda.so.1 demo adamw-gpu GPU=1 | grep 'no GPU to train on: no NVIDIA driver'
