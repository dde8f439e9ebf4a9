#!/bin/bash
# Seeds small trees with one violation each: check_layers.sh must name the line; and one clean tree that must pass.
set -euo pipefail
check=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../cmake" && pwd)/check_layers.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# tree FILE INCLUDE: a tree with one file that includes something on its second line.
tree() {
  rm -rf "${work:?}/tree"
  mkdir -p "$work/tree/$(dirname "$1")"
  printf '#pragma once\n#include %s\n' "$2" >"$work/tree/$1"
}

allowed() {
  tree "$1" "$2"
  if ! "$check" "$work/tree" >"$work/out" 2>&1; then
    echo "wrongly refused: $1 including $2"; cat "$work/out"
    failures=$((failures + 1))
  fi
}

refused() {
  tree "$1" "$2"
  if "$check" "$work/tree" >"$work/out" 2>&1 || ! grep -q "^$1:2: " "$work/out"; then
    echo "not refused: $1 including $2"; cat "$work/out"
    failures=$((failures + 1))
  fi
}

allowed core/a.h '<vector>'
allowed core/a.h '"core/b.h"'
allowed kernels/cpu/gemm.cpp '<cblas.h>'
allowed model/llama.cpp '"parallel/tensor/linear.h"'
allowed checkpoint/writer.cpp '"parallel/comm/mesh.h"'
allowed checkpoint/writer.cpp '<hdf5.h>'
allowed checkpoint/names.cpp '"model/model_config.h"'
allowed train/trainer.cpp '"data/batch.h"'
allowed train/config/yaml.cpp '<yaml-cpp/yaml.h>'
allowed parallel/comm/mpi/mpi.cpp '<mpi.h>'
allowed core/device.cpp '<cuda_runtime.h>'
allowed launch/main.cpp '"train/trainer.h"'

refused core/a.h '"kernels/gemm.h"'
refused kernels/gemm.cpp '"model/llama.h"'
refused model/llama.h '"train/trainer.h"'
refused model/llama.h '"data/batch.h"'
refused data/batch.cpp '"kernels/gemm.h"'
refused checkpoint/writer.cpp '"data/batch.h"'
refused checkpoint/writer.cpp '"parallel/tensor/linear.h"'
refused parallel/tensor/a.h '"parallel/pipeline/b.h"'
refused parallel/data/a.h '"parallel/tensor/b.h"'
refused train/trainer.h '"launch/coordinator.h"'
refused parallel/comm/mesh.h '<mpi.h>'
refused launch/main.cpp '"mpi.h"'
refused launch/main.cpp '<cuda_runtime.h>'
refused model/llama.cpp '<nccl.h>'
refused model/llama.cpp '<Eigen/Dense>'
refused kernels/gemm.h '<cblas.h>'
refused train/metrics.cpp '<H5Cpp.h>'
refused launch/watch.cpp '<httplib.h>'
refused launch/watch.cpp '<CLI/CLI.hpp>'
refused train/trainer.cpp '  <yaml-cpp/yaml.h>'
refused core/a.h '"../model/llama.h"'
refused core/a.h '"b.h"'
refused core/a.h '<model/llama.h>'

tree parallel/loose.h '<vector>'
if "$check" "$work/tree" >/dev/null 2>&1; then
  echo "a file in no room passed"
  failures=$((failures + 1))
fi
if "$check" "$work" >/dev/null 2>&1; then
  echo "a folder without rooms passed"
  failures=$((failures + 1))
fi
[ $failures -eq 0 ] || exit 1
echo "all violations found, all clean trees passed"
