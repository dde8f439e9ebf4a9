#!/bin/bash
# Compares a built Trident with PyTorch, transformers, tokenizers, tiktoken, TensorBoard and Megatron's formats.
#   tests/interop/run.sh [BUILD_DIR]     default: $TRIDENT_BUILD_DIR or build/
# Makes the Python environment where it can; what still misses a module is reported as skipped, not failed.
# TRIDENT_PYTHON       another Python to use, which has the modules
# TRIDENT_SHARED_DATA  a folder with gpt2-bpe/vocab.bpe and encoder.json, for GPT-2's own ids
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$(realpath -m "${1:-${TRIDENT_BUILD_DIR:-$root/build}}")
[ -n "${TRIDENT_PYTHON:-}" ] || "$root/tests/interop/setup_venv.sh" || true
exec ctest --test-dir "$build" -R '^interop\.' --output-on-failure --no-tests=error --timeout 300
