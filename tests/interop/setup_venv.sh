#!/bin/sh
# Makes <root>/.venv with what tests/interop compares with and Debian lacks (requirements.txt, about 60 MB). PyTorch and
# NumPy are Debian's own packages: launch/setup.sh interop. Safe to run again; where the registry cannot be reached it
# says so in a few seconds, exits 69 and leaves no half-made environment.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
venv=$root/.venv
wanted=$root/tests/interop/requirements.txt
stamp=$venv/.requirements

fail() {
  echo "interop: $*" >&2
  exit 69
}

if cmp -s "$wanted" "$stamp"; then
  echo "interop: $venv is ready"
  exit 0
fi
for module in torch numpy ensurepip; do
  /usr/bin/python3 -c "import $module" 2>/dev/null || fail "Python lacks $module; run launch/setup.sh interop"
done
echo "interop: making $venv"
rm -rf "$venv"
/usr/bin/python3 -m venv --system-site-packages "$venv"
timeout 180 "$venv/bin/pip" --quiet --disable-pip-version-check --no-input --timeout 10 --retries 1 \
  install --prefer-binary --requirement "$wanted" || {
  rm -rf "$venv"
  fail "pip could not install $wanted (above); tests that need it are skipped"
}
cp "$wanted" "$stamp"
