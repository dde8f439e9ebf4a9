#!/bin/bash
# A small job under `trident launch`, looked at while it goes on and after it: /metrics, /healthz, /api/state, the page,
# `trident watch`, the line on its wall time and report.html.
#   watch_test.sh PROGRAM JSON_KEYS
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/../distributed/fault/fault.sh"

# get PORT PATH [HOST]: the answer, head and body.
get() {
  local connection
  exec {connection}<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET %s HTTP/1.1\r\nHost: %s\r\n\r\n' "$2" "${3:-localhost:$1}" >&"$connection"
  timeout 20 cat <&"$connection"
  exec {connection}>&-
}

# until_true WHAT COMMAND...: fails where that does not come.
until_true() {
  local what=$1 waited=0
  shift
  until "$@"; do
    [ $waited -lt 300 ] || { report "never: $what: $(tail -n 20 seen.log)"; return 1; }
    sleep 0.1
    waited=$((waited + 1))
  done
}
trains_again() { grep -qs '"event":"restart"' runs/seen/events.jsonl; }

while_it_runs() {
  local url port
  until_true "a restart" trains_again || return 0
  url=$(sed -E 's/.*"url":"([^"]*)".*/\1/' runs/seen/status.json)
  port=${url##*:}
  grep -qF "status at $url," seen.log || report "the log does not say where"
  get "$port" /healthz >healthz
  grep -q '^HTTP/1.1 200' healthz || report "healthz: $(cat healthz)"
  get "$port" /metrics >metrics
  for line in 'trident_step [0-9]+' 'trident_goodput_ratio 0\.[0-9]+' 'trident_restarts_total\{reason="killed"\} 1' \
    'trident_rank_heartbeat_age_seconds\{rank="3",host="[^"]+"\} .*' 'trident_ranks 4' 'trident_epoch 2' 'trident_healthy 1'; do
    grep -qE "^$line\$" metrics || report "metrics lack $line: $(cat metrics)"
  done
  get "$port" /api/state | tail -n 1 >state
  grep -q '"state":"training","healthy":true' state || report "state: $(cat state)"
  get "$port" / >page
  grep -q '</html>' page || report "no page"
  "$program" watch runs/seen --once >screen
  grep -q '^from http' screen || report "watch does not ask the server: $(cat screen)"
  grep -q '    3 running' screen || report "watch lacks ranks: $(cat screen)"
  "$program" watch job.yaml run.name=seen --json | head -c 6 | grep '"v":1' >/dev/null || report "watch --json"
  # Nobody else's page may read it.
  get "$port" /api/state evil.example >refused
  grep -q '^HTTP/1.1 403' refused || report "another name is answered: $(head -n 1 refused)"
}

after_it() {
  [ ! -e runs/seen/status.json ] || report "status.json outlives the server"
  env -u NO_COLOR "$program" watch runs/seen >screen
  grep -q '^seen  stopped' screen || report "watch of a run that ended: $(cat screen)"
  if grep -q $'\x1b' screen; then report "escapes where there is no terminal"; fi
  grep -qE 'I wall time [^ ]+: useful [0-9.]+%' seen.log || report "no ledger: $(tail -n 3 seen.log)"
  grep -q 'Effective training time' runs/seen/report.html || report "no ledger in the report"
}

errors() {
  local status=0
  "$program" watch nowhere 2>said || status=$?
  [ $status -eq 66 ] || report "no run: exit $status"
  grep -q "nowhere is neither a run's folder nor a job file" said || report "unclear: $(cat said)"
  mkdir empty
  status=0
  "$program" watch empty 2>said || status=$?
  [ $status -eq 66 ] || report "an empty folder: exit $status"
  grep -q 'empty is no run' said || report "unclear: $(cat said)"
}

# A port that is taken is no reason not to train; nor is port 0 one to serve.
without_server() {
  launch none training.steps=2 logging.status_address=192.0.2.1 || report "none: exit $?"
  grep -q 'no status server: .*cannot listen at 192.0.2.1' none.log || report "not said: $(cat none.log)"
  launch off training.steps=2 logging.status_port=0 || report "off: exit $?"
  if grep -q 'status at' off.log; then report "a server that nobody wants"; fi
}

small_job
start seen training.steps=4000 --inject 'kill@rank=2,step=3;slow@rank=0,step=3,seconds=0.05,epoch=2'
while_it_runs
status=0
kill -TERM "$(agent)"
wait "$watchdog" || status=$?
[ $status -eq 75 ] || report "exit $status: $(tail -n 20 seen.log)"
after_it
errors
without_server
clean seen
finish "a run can be watched"
