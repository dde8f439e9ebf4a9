#!/bin/bash
# Collects what run.sh needs on a machine that can neither build Trident nor install its libraries: programs, stripped,
# and every shared library of theirs that is not the C and C++ runtime's or CUDA's.
#
#   bench/gpu/pack.sh [--build DIR] [--out FILE.tar.xz] [--mpi] [--limit-mib N] [PROGRAM...]
#
#   --build DIR       the build folder (default: TRIDENT_BUILD_DIR, else build/)
#   --out FILE        the archive (default: DIR/gpu-pack.tar.xz)
#   --mpi             with Open MPI's launcher and plugins
#   --limit-mib N     a larger archive is an error (default: 45)
#   PROGRAM           below the build folder, e.g. tests/train_tests; default: trident, bench/bench_gpu_kernels and every
#                     program in tests/ that has GPU tests
#
# In the archive: bin/, tests/, lib/, and mpi/ with --mpi. run.sh --prebuilt FILE unpacks and uses it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${TRIDENT_BUILD_DIR:-$root/build} out='' mpi='' limit=45 programs=()
gpu_tests='*Cuda*:*Gpu*'

fail() {
  printf 'pack: error: %s\n' "$*" >&2
  exit 1
}

usage() {
  printf 'pack: %s; see --help\n' "$*" >&2
  exit 64
}

while [ $# -gt 0 ]; do
  case $1 in
    --build) [ -n "${2:-}" ] || usage "--build needs a folder"; build=$2; shift ;;
    --out) [ -n "${2:-}" ] || usage "--out needs a file"; out=$2; shift ;;
    --limit-mib) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage "--limit-mib needs a positive number"; limit=$2; shift ;;
    --mpi) mpi=yes ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) usage "unknown option '$1'" ;;
    *) programs+=("$1") ;;
  esac
  shift
done
[ -x "$build/trident" ] || fail "no program in $build: build first, or name the folder with --build"
build=$(realpath "$build")
out=$(realpath -m "${out:-$build/gpu-pack.tar.xz}")

has_gpu_tests() { "$1" --gtest_list_tests --gtest_filter="$gpu_tests" 2>/dev/null | grep '^  ' >/dev/null; }

if [ ${#programs[@]} -eq 0 ]; then
  programs=(trident)
  [ ! -x "$build/bench/bench_gpu_kernels" ] || programs+=(bench/bench_gpu_kernels)
  for test in "$build"/tests/*_tests; do
    ! has_gpu_tests "$test" || programs+=("tests/${test##*/}")
  done
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pack=$work/pack
mkdir -p "$pack/bin" "$pack/tests" "$pack/lib"

# The machine's own, or CUDA's.
is_elsewhere() {
  case $1 in
    linux-vdso.so.* | ld-linux*) return 0 ;;
    libc.so.* | libm.so.* | libpthread.so.* | libdl.so.* | librt.so.* | libresolv.so.* | libutil.so.* | libanl.so.*) return 0 ;;
    libstdc++.so.* | libgcc_s.so.*) return 0 ;;
    libcuda.so.* | libcudart.so.* | libcublas*.so.* | libcudnn*.so.* | libnvrtc*.so.* | libnvJitLink.so.* | libnccl.so.*) return 0 ;;
  esac
  return 1
}

# copy FILE TARGET: stripped, links followed.
copy() {
  cp -L "$1" "$2"
  chmod u+w "$2"
  strip --strip-unneeded "$2" 2>/dev/null || true # scripts and texts have nothing to strip
}

# libraries_of FILE...: what ldd finds for them, into lib/.
libraries_of() {
  local name path
  while read -r name path; do
    is_elsewhere "$name" && continue
    [ "$path" != not ] || fail "the library $name of $* is not installed"
    [ -e "$pack/lib/$name" ] || copy "$path" "$pack/lib/$name"
  done < <(ldd "$@" | awk '$2 == "=>" { print $1, $3 }' | sort -u)
}

for program in "${programs[@]}"; do
  [ -x "$build/$program" ] || fail "$build/$program is not there: build it, or leave it out"
  case $program in
    tests/*) copy "$build/$program" "$pack/tests/${program##*/}" ;;
    *) copy "$build/$program" "$pack/bin/${program##*/}" ;;
  esac
  libraries_of "$build/$program"
done

# Loaded at run time (kernels/cpu/blas.cpp): CPU references need a matrix library.
openblas=$(sed -n 's/^TRIDENT_OPENBLAS_PATH:[A-Z]*=//p' "$build/CMakeCache.txt")
if [ -e "${openblas:-/nowhere}" ]; then
  copy "$openblas" "$pack/lib/libopenblas.so.0"
  libraries_of "$openblas"
fi

# Plugins whose libraries serve network hardware stay behind: ranks of one machine need none of them.
pack_mpi() {
  local prefix=/usr libdir plugin launcher
  launcher=$(command -v orterun) || fail "--mpi: no Open MPI here"
  libdir=$(ompi_info --parsable --path pkglibdir | cut -d: -f3)
  [ -d "$libdir" ] || fail "--mpi: Open MPI's plugins are not where ompi_info says: $libdir"
  mkdir -p "$pack/mpi/bin" "$pack/mpi/plugins" "$pack/mpi/share/openmpi"
  copy "$launcher" "$pack/mpi/bin/mpirun"
  copy "$(command -v orted)" "$pack/mpi/bin/orted"
  libraries_of "$launcher" "$(command -v orted)"
  for plugin in "$libdir"/mca_*.so; do
    case ${plugin##*/} in *ucx* | *ofi* | *openib* | *psm* | *flux* | *slurm* | *monitoring*) continue ;; esac
    copy "$plugin" "$pack/mpi/plugins/${plugin##*/}"
    libraries_of "$plugin"
  done
  cp "$prefix"/share/openmpi/*.txt "$pack/mpi/share/openmpi/"
}
[ -z "$mpi" ] || pack_mpi

find "$pack" -type d -empty -delete
(cd "$pack" && find . -type f -printf '%s %P\n' | sort -k2 >CONTENTS)
# Like beside like: the test programs hold the same kernels, which only a dictionary as large as they finds.
tar -C "$pack" --sort=name --owner=0 --group=0 -cf - . | xz --lzma2=preset=6,dict=64MiB -T1 >"$out.new"
mv "$out.new" "$out"
size=$(($(stat -c %s "$out") / 1048576))
printf 'pack: %s: %s MiB, %s MiB unpacked, %s programs\n' "$out" "$size" "$(($(du -sk "$pack" | cut -f1) / 1024))" "${#programs[@]}"
[ "$size" -lt "$limit" ] || fail "the archive has $size MiB, more than $limit: name fewer programs"
