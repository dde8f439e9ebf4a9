#!/bin/bash
# Compiles everything that has CUDA code for several GPU generations, in a build folder of its own. Needs no GPU.
#
#   bench/gpu/build_archs.sh [--archs "80 90a 100"] [--build DIR] [--jobs N]
#
# Default folder: build-archs/. Afterwards resources.sh shows what the kernels use on each. Exit code 77 without nvcc.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
archs='80 90a 100' build=$root/build-archs jobs=$(nproc)

usage() {
  printf 'build_archs: %s; see --help\n' "$*" >&2
  exit 64
}

while [ $# -gt 0 ]; do
  case $1 in
    --archs) [[ ${2:-} =~ ^[0-9]+[af]?(\ [0-9]+[af]?)*$ ]] || usage "--archs needs numbers, like \"80 90a\""; archs=$2; shift ;;
    --build) [ -n "${2:-}" ] || usage "--build needs a folder"; build=$2; shift ;;
    --jobs) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage "--jobs needs a positive number"; jobs=$2; shift ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) usage "unknown option '$1'" ;;
  esac
  shift
done
type nvcc >/dev/null 2>&1 || PATH=$PATH:/usr/local/cuda/bin
type nvcc >/dev/null 2>&1 || { echo "build_archs: no nvcc here"; exit 77; }

real=()
for arch in $archs; do real+=("$arch-real"); done
generator=()
! type ninja >/dev/null 2>&1 || generator=(-G Ninja)
cmake -S "$root" -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DTRIDENT_CUDA=ON \
  "-DCMAKE_CUDA_ARCHITECTURES=$(IFS=';'; echo "${real[*]}")"
targets=(trident_core trident_kernels bench_gpu_kernels)
! cmake --build "$build" --target help | grep cuda_kernel_tests >/dev/null || targets+=(cuda_kernel_tests)
cmake --build "$build" --parallel "$jobs" --target "${targets[@]}"
echo "build_archs: ${targets[*]} built for $archs in $build"
