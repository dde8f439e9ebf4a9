#!/bin/bash
# Checks every #include of the rooms against docs/architecture.md ("Who may include whom"); prints offenders as
# file:line: reason, and fails if there are any. Tests and benchmarks may include anything.
#   cmake/check_layers.sh [ROOT]
set -euo pipefail
rules=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/check_layers.awk
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"

rooms='core kernels parallel model data checkpoint plan train launch'
folders=()
for room in $rooms; do
  [ ! -d "$room" ] || folders+=("$room")
done
[ ${#folders[@]} -gt 0 ] || { echo "check_layers: no rooms in $PWD" >&2; exit 2; }

find "${folders[@]}" -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.in' \) -print0 |
  sort -z | xargs -0 -r awk -f "$rules" || { echo "check_layers: the rules are in docs/architecture.md" >&2; exit 1; }
echo "check_layers: every include is allowed"
