#!/bin/sh
# Makes <root>/.venv with what tests/interop needs from Hugging Face. PyTorch and NumPy are Debian's own packages
# (apt-get install python3-torch python3-numpy python3-venv), so nothing large is downloaded. Safe to run again.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
venv="$root/.venv"
wanted="$root/tests/interop/requirements.txt"
stamp="$venv/.requirements"

if cmp -s "$wanted" "$stamp"; then
  echo "interop: $venv is ready"
  exit 0
fi
for module in torch numpy ensurepip; do
  /usr/bin/python3 -c "import $module" 2>/dev/null || {
    echo "interop: Python lacks $module; apt-get install python3-torch python3-numpy python3-venv" >&2
    exit 69
  }
done
echo "interop: making $venv"
/usr/bin/python3 -m venv --clear --system-site-packages "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
cp "$wanted" "$stamp"
