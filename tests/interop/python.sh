#!/bin/sh
# Runs a script of this folder with the Python that has most of what the scripts compare with: $TRIDENT_PYTHON, the
# environment that setup_venv.sh makes, or Debian's. Without any, or for a script that misses a module: 77, skipped.
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ -z "${TRIDENT_PYTHON:-}" ]; then
  TRIDENT_PYTHON=/usr/bin/python3
  [ ! -e "$root/.venv/.requirements" ] || TRIDENT_PYTHON=$root/.venv/bin/python
fi
"$TRIDENT_PYTHON" -c '' 2>/dev/null || {
  echo "skipped: no Python at $TRIDENT_PYTHON"
  exit 77
}
# Nothing is fetched by the tests, and nothing is written beside the scripts.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONDONTWRITEBYTECODE=1
exec "$TRIDENT_PYTHON" "$@"
