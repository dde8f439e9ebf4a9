#!/bin/bash
# trident report: a run's page and loss curve from its files, those of a run that lost its configuration too.
#   report_test.sh TRIDENT
set -euo pipefail
program=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
  echo "$*"
  exit 1
}

mkdir run
for step in 1 2 3; do
  echo "{\"v\":1,\"attempt\":1,\"step\":$step,\"loss\":$((6 - step)).5,\"grad_norm\":1,\"lr\":0.1,\"tokens\":$((step * 8)),\"step_s\":0.1,\"tokens_per_s\":80}"
done >run/metrics.jsonl
echo '{"v":1,"attempt":1,"step":3,"val_loss":3.25,"tokens":24,"seconds":0.1}' >>run/metrics.jsonl

"$program" report run --loss-svg loss.svg >said 2>complaints
[ "$(cat said)" = "$(printf 'run/report.html\nloss.svg')" ] || fail "names other files than it wrote: $(cat said)"
[ ! -s complaints ] || fail "complains about a run without a configuration: $(cat complaints)"
grep -q 'Final training loss' run/report.html || fail "no loss in the report"
head -c 4 loss.svg | grep '<svg' >/dev/null || fail "the curve is no SVG file: $(head -c 80 loss.svg)"
grep -q 'validation' loss.svg || fail "the curve lacks the validation loss"

cat >run/config.resolved.yaml <<'YAML'
run: {name: small}
model: {preset: llama-tiny}
data: {train: a}
training: {steps: 7}
YAML
"$program" report run >/dev/null
grep -q 'of 7' run/report.html || fail "the report ignores the configuration"

echo 'model: {hidden_sise: 3}' >run/config.resolved.yaml
"$program" report run >/dev/null 2>complaints || fail "a damaged configuration stops the report"
grep -q 'hidden_sise' complaints || fail "the damage is not named: $(cat complaints)"
if grep -q 'of 7' run/report.html; then fail "the report is the old one"; fi

status=0
"$program" report nowhere 2>complaints || status=$?
[ $status -eq 66 ] || fail "exit $status for no run"
grep -q 'nowhere is no run' complaints || fail "unclear: $(cat complaints)"
status=0
"$program" report run --loss-svg no/such/folder/loss.svg >/dev/null 2>complaints || status=$?
[ $status -ne 0 ] || fail "an unwritable curve passes"
grep -q 'no/such/folder' complaints || fail "unclear: $(cat complaints)"
