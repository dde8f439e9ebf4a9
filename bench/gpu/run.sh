#!/bin/bash
# Checks and times everything on one GPU within ten minutes, and prints tables last. No setting of the card is changed.
#
#   bench/gpu/run.sh [--prebuilt FILE|DIR | --build DIR] [--only STEPS] [--skip STEPS] [OPTION...]
#
# Steps, in this order, separated by commas in --only and --skip:
#   tests      the GPU tests of every test program
#   kernels    bench_gpu_kernels: every kernel family beside a copy and a matrix product
#   parity     training on the CPU and on the GPU: losses within 1e-10 (fp64), 1e-5 (fp32), 1e-2 (bf16), relatively
#   repeat     the same training twice: equal bits of losses, norms, weights and moments
#   ranks      dp=2 tp=2 pp=2 on the one card against one rank (fp64, 1e-10), and dp=2 pp=2 with equal bits
#   sanitizer  compute-sanitizer: memcheck on a small training, racecheck on a few kernel tests
#   speed      training steps beside PyTorch's: Trident, every variant of PyTorch, Trident again
#
#   --prebuilt FILE|DIR   what pack.sh made; without it, and without --build, the program is built here
#   --build DIR           a finished build folder
#   --out DIR             summary.txt, kernels.jsonl, steps.jsonl, clocks.csv, logs.tar.gz (default: OUT, else gpu-results)
#   --budget S            seconds for everything (default: 570); what no time is left for is not run
#   --limit STEP=S        seconds for one step, instead of the table's below
#   --workloads LIST      of gpt2-124m, gpt2-1558m, llama-8b-slice (default: all)
#   --timed N             steps timed in each sample (default: 30)
#   --torch ARGUMENTS     of torch_baseline.py, in one word (default: "--sdpa cudnn --mode default --weights autocast,master
#                         --limit-s 90"); "none" leaves PyTorch out. The 48 layers of gpt2-1558m are compiled as blocks
#                         unless --compile is among them
#   --python PROGRAM      that has PyTorch (default: python3)
#   --racecheck FILTER    tests for racecheck (default: *CudaElementwise*:*CudaNorm*:CudaFp8.Quantizes*)
#
# Exit code: 0 when nothing failed, 1 when something did, 64 for a wrong command line, 77 without a GPU.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

prebuilt='' build='' out=${OUT:-gpu-results} budget=570 only='' skip='' python=python3 timed=30
workloads=gpt2-124m,gpt2-1558m,llama-8b-slice
torch_arguments='--sdpa cudnn --mode default --weights autocast,master --limit-s 90'
racecheck='*CudaElementwise*:*CudaNorm*:CudaFp8.Quantizes*'
steps=(tests kernels parity repeat ranks sanitizer speed)
declare -A limit=([tests]=120 [kernels]=90 [parity]=90 [repeat]=45 [ranks]=60 [sanitizer]=90 [speed]=570)
gpu_tests='*Cuda*:*Gpu*'

say() { printf 'gpu: %s\n' "$*"; }

fail() {
  printf 'gpu: error: %s\n' "$*" >&2
  exit 1
}

usage() {
  printf 'gpu: %s; see --help\n' "$*" >&2
  exit 64
}

# among WORD LIST WHAT: every word of a comma-separated list is one of LIST.
among() {
  local word
  for word in ${1//,/ }; do
    [[ " $2 " == *" $word "* ]] || usage "no $3 is called '$word': $2"
  done
}

while [ $# -gt 0 ]; do
  case $1 in
    --prebuilt | --build | --out | --budget | --limit | --only | --skip | --workloads | --timed | --torch | --python | --racecheck)
      [ -n "${2:-}" ] || usage "$1 needs a value" ;;
  esac
  case $1 in
    --prebuilt) prebuilt=$2; shift ;;
    --build) build=$2; shift ;;
    --out) out=$2; shift ;;
    --budget) [[ $2 =~ ^[1-9][0-9]*$ ]] || usage "--budget needs a positive number"; budget=$2; shift ;;
    --limit)
      [[ $2 =~ ^[a-z]+=[1-9][0-9]*$ ]] || usage "--limit needs STEP=SECONDS"
      among "${2%=*}" "${steps[*]}" step
      limit[${2%=*}]=${2#*=}; shift ;;
    --only) among "$2" "${steps[*]}" step; only=$2; shift ;;
    --skip) among "$2" "${steps[*]}" step; skip=$2; shift ;;
    --workloads) among "$2" "gpt2-124m gpt2-1558m llama-8b-slice" workload; workloads=$2; shift ;;
    --timed) [[ $2 =~ ^[1-9][0-9]*$ ]] || usage "--timed needs a positive number"; timed=$2; shift ;;
    --torch) torch_arguments=$2; shift ;;
    --python) python=$2; shift ;;
    --racecheck) racecheck=$2; shift ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) usage "unknown option '$1'" ;;
  esac
  shift
done
[ -z "$prebuilt" ] || [ -z "$build" ] || usage "--prebuilt and --build exclude each other"
[ -z "$prebuilt" ] || [ -e "$prebuilt" ] || usage "--prebuilt: there is no $prebuilt"
[ -z "$build" ] || [ -x "$build/trident" ] || usage "--build: there is no program in $build"

gpu=$(nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader -i 0 2>/dev/null) || gpu=''
if [ -z "$gpu" ]; then
  say "no GPU here (nvidia-smi shows none): nothing is checked" >&2
  exit 77
fi

work=$(mktemp -d)
logs=$work/logs
mkdir -p "$out" "$logs" "$work/runs"
out=$(realpath "$out")
logger=''
cleanup() {
  [ -z "$logger" ] || kill "$logger" 2>/dev/null || true
  tar -C "$work" -czf "$out/logs.tar.gz" logs 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
left() { echo $((budget - SECONDS)); }

# Folders of cuBLASLt, NCCL and cuDNN: the toolkit's, else those that came with PyTorch. Not for other programs' libraries.
cuda_libraries() {
  local library folder site
  site=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null || true)
  for library in libcublasLt.so libnccl.so libcudnn.so libcudart.so; do
    for folder in /usr/local/cuda/lib64 /usr/local/cuda-*/lib64 /usr/lib/x86_64-linux-gnu "$site"/nvidia/*/lib; do
      if compgen -G "$folder/$library.*" >/dev/null; then
        printf ':%s' "$folder"
        break
      fi
    done
  done
}

library_path='' mpi_environment=() launcher=''
# Our programs; libraries that were carried along are for them alone.
ours() { env LD_LIBRARY_PATH="$library_path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "${mpi_environment[@]}" "$@"; }

build_here() {
  type cmake nvcc >/dev/null 2>&1 || PATH=$PATH:/usr/local/cuda/bin
  type cmake nvcc >/dev/null 2>&1 || fail "cannot build here (no CMake or no nvcc): carry what pack.sh makes, and give --prebuilt"
  build=$root/build-gpu
  cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DTRIDENT_CUDA=ON -DTRIDENT_TESTS=AUTO >"$logs/configure.log" 2>&1 ||
    fail "cannot build here: $(grep -m1 -A2 'CMake Error' "$logs/configure.log" | tr '\n' ' '); carry what pack.sh makes, and give --prebuilt"
  say "building in $build ..."
  timeout "$(left)" cmake --build "$build" --parallel "$(nproc)" >"$logs/build.log" 2>&1 ||
    fail "the build failed: $(tail -n 5 "$logs/build.log")"
}

prepare() {
  if [ -n "$prebuilt" ]; then
    local folder=$work/prebuilt
    mkdir -p "$folder"
    if [ -d "$prebuilt" ]; then folder=$(realpath "$prebuilt"); else tar -C "$folder" -xf "$prebuilt"; fi
    trident=$folder/bin/trident bench=$folder/bin/bench_gpu_kernels tests=$folder/tests
    library_path=$folder/lib
    if [ -x "$folder/mpi/bin/mpirun" ]; then
      launcher=$folder/mpi/bin/mpirun
      mpi_environment+=(OPAL_PREFIX="$folder/mpi" OPAL_PKGLIBDIR="$folder/mpi/plugins" PATH="$folder/mpi/bin:$PATH")
      mpi_environment+=(OMPI_MCA_plm_rsh_agent= PMIX_MCA_pcompress_base_silence_warning=1)
    fi
  else
    [ -n "$build" ] || build_here
    build=$(realpath "$build")
    trident=$build/trident bench=$build/bench/bench_gpu_kernels tests=$build/tests
    launcher=$(command -v mpirun || true)
  fi
  mpi_environment+=(OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_pml=ob1 OMPI_MCA_btl='tcp,vader,self')
  mpi_environment+=(OMPI_MCA_btl_vader_single_copy_mechanism=none)
  library_path+=$(cuda_libraries)
  ours "$trident" --version >"$logs/version.log" 2>&1 || fail "$trident does not start: $(tail -n 3 "$logs/version.log")"
  grep -q '^cuda [0-9]' "$logs/version.log" || fail "$trident was built without CUDA"
  # For programs that must not see those libraries but start ours.
  {
    echo '#!/bin/bash'
    printf 'exec env'
    printf ' %q' LD_LIBRARY_PATH="$library_path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "${mpi_environment[@]}" "$trident"
    printf ' "$@"\n'
  } >"$work/trident"
  chmod +x "$work/trident"
}

# result TEXT: what the table says of the step; the last one counts.
result() { printf 'result: %s\n' "$*"; }

step_tests() {
  local program passed=0 skipped=0 failed=0 programs=0 log
  for program in "$tests"/*_tests; do
    ours "$program" --gtest_list_tests --gtest_filter="$gpu_tests" 2>/dev/null | grep '^  ' >/dev/null || continue
    programs=$((programs + 1)) log=$logs/tests-${program##*/}.log
    ours "$program" --gtest_filter="$gpu_tests" >"$log" 2>&1 || {
      failed=$((failed + 1))
      grep -E 'FAILED|Failure|terminate|what\(\)' "$log" | head -n 20 || tail -n 5 "$log"
    }
    passed=$((passed + $(grep -c '^\[       OK' "$log" || true)))
    skipped=$((skipped + $(grep -c '^\[  SKIPPED \].* ms)$' "$log" || true)))
    grep -E '^\[  (SKIPPED|FAILED ) .*\(' "$log" || true
  done
  result "$passed passed, $skipped skipped, in $programs programs; $failed programs failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

step_kernels() {
  local status=0
  [ -x "$bench" ] || { result "no bench_gpu_kernels here"; return 77; }
  ours "$bench" --json "$out/kernels.jsonl" | tee "$work/kernels.txt" || status=$?
  result "$(grep -c FAILED "$work/kernels.txt" || true) failed; $(grep '^ceilings at the start' "$work/kernels.txt" | cut -d: -f2-)"
  return $status
}

# train NAME JOB KEY=VALUE...: the small job of that name as run NAME.
train() {
  local name=$1 job=$2
  shift 2
  ours "${ranks[@]}" "$trident" train "$here/configs/$job.yaml" run.dir="$work/runs" run.name="$name" \
    data.train="$work/small" data.validation="$work/small" "$@" || { echo "train $name $*: exit code $?"; return 1; }
}
ranks=()

compare() { "$python" "$here/checks.py" compare "$work/runs/$1" "$work/runs/$2" "${@:3}"; }

small_data() { [ -e "$work/small.idx" ] || "$python" "$here/checks.py" tokens "$work/small" 1000 200000 --chained; }

step_parity() {
  local job precision bound status=0 bad=''
  small_data
  for job in parity-llama parity-gpt2; do
    for precision in fp64:1e-10 fp32:1e-5 bf16:1e-2; do
      bound=${precision#*:} precision=${precision%:*}
      { train "$job-$precision-cpu" "$job" device=cpu precision.compute="$precision" &&
        train "$job-$precision-gpu" "$job" device=cuda precision.compute="$precision" &&
        compare "$job-$precision-cpu" "$job-$precision-gpu" --relative "$bound"; } || { status=1 bad+=" $job:$precision"; }
    done
  done
  if [ $status -eq 0 ]; then result "2 models, fp64 fp32 bf16: CPU and GPU agree"; else result "apart:$bad"; fi
  return $status
}

step_repeat() {
  local job precision name status=0 bad=''
  small_data
  for job in parity-llama parity-gpt2; do
    for precision in fp32 bf16; do
      name=repeat-$job-$precision
      { train "$name-1" "$job" precision.compute="$precision" && train "$name-2" "$job" precision.compute="$precision" &&
        compare "$name-1" "$name-2" --bits &&
        ours "$trident" checkpoint diff "$work/runs/$name-1" "$work/runs/$name-2"; } || { status=1 bad+=" $job:$precision"; }
    done
  done
  if [ $status -eq 0 ]; then result "2 models, fp32 bf16: equal bits, checkpoints too"; else result "other bits:$bad"; fi
  return $status
}

step_ranks() {
  local status=0 job=parity-llama precision bad=''
  small_data
  for precision in fp64 bf16; do train one-$precision "$job" precision.compute=$precision || status=1; done
  if [ -z "$launcher" ]; then
    result "no mpirun here: one rank trained, and there is nothing to compare it with"
    [ $status -eq 0 ] || return 1
    return 77
  fi
  # shellcheck disable=SC2054  # one launcher and its arguments
  ranks=("$launcher" --oversubscribe -n 8)
  { train cube-fp64 "$job" precision.compute=fp64 parallelism.dp=2 parallelism.tp=2 parallelism.pp=2 training.threads=1 &&
    compare one-fp64 cube-fp64 --relative 1e-10; } || { status=1 bad+=' dp2tp2pp2:fp64'; }
  ranks=("$launcher" --oversubscribe -n 4)
  { train flat-bf16 "$job" precision.compute=bf16 parallelism.dp=2 parallelism.pp=2 training.threads=1 &&
    compare one-bf16 flat-bf16 --bits; } || { status=1 bad+=' dp2pp2:bf16'; }
  ranks=()
  if [ $status -eq 0 ]; then result "8 ranks within 1e-10 of one in fp64; 4 ranks with its bits in bf16"; else result "failed:$bad"; fi
  return $status
}

step_sanitizer() {
  local sanitizer status=0 bad='' log
  sanitizer=$(command -v compute-sanitizer || compgen -G '/usr/local/cuda*/bin/compute-sanitizer' | head -n 1 || true)
  [ -n "$sanitizer" ] || { result "no compute-sanitizer here"; return 77; }
  small_data
  log=$logs/memcheck.log
  ranks=("$sanitizer" --tool memcheck --error-exitcode 9)
  { train memcheck-llama parity-llama precision.compute=bf16 training.steps=1 training.global_batch_size=2 model.num_hidden_layers=1 \
    training.micro_batch_size=1 && train memcheck-gpt2 parity-gpt2 precision.compute=bf16 training.steps=1 \
    training.global_batch_size=2 training.micro_batch_size=1 model.num_hidden_layers=1; } >"$log" 2>&1 || { status=1 bad+=' memcheck'; }
  ranks=()
  grep 'ERROR SUMMARY' "$log" || tail -n 5 "$log"
  log=$logs/racecheck.log
  if [ -x "$tests/cuda_kernel_tests" ]; then
    ours "$sanitizer" --tool racecheck --error-exitcode 9 "$tests/cuda_kernel_tests" --gtest_filter="$racecheck" >"$log" 2>&1 ||
      { status=1 bad+=' racecheck'; }
    grep -E 'RACECHECK SUMMARY|ERROR SUMMARY|tests ran' "$log" || tail -n 5 "$log"
  fi
  if [ $status -eq 0 ]; then result "memcheck and racecheck: no errors"; else result "errors, or none could be looked for:$bad"; fi
  return $status
}

# sample WORKLOAD VOCABULARY KEY=VALUE...: one sample of Trident's steps.
sample() {
  "$python" "$here/checks.py" time --trident "$work/trident" --workload "$1" --job "$here/configs/$1.yaml" \
    --data "$work/tokens-$2" --folder "$work/samples/$(date +%s%N)" --steps "$timed" --limit-s 75 "${@:3}" | tee -a "$out/steps.jsonl"
}

step_speed() {
  local workload vocabulary status=0 compile
  : >"$out/steps.jsonl"
  export TORCHINDUCTOR_CACHE_DIR=$work/inductor
  for workload in ${workloads//,/ }; do
    vocabulary=50304 compile=whole
    case $workload in llama*) vocabulary=128256 ;; gpt2-1558m) compile=blocks ;; esac
    [ -e "$work/tokens-$vocabulary.idx" ] || "$python" "$here/checks.py" tokens "$work/tokens-$vocabulary" "$vocabulary" 3000000
    sample "$workload" "$vocabulary" || status=1
    sample "$workload" "$vocabulary" precision.deterministic=false || status=1
    sample "$workload" "$vocabulary" precision.fp8=true || status=1
    if [ "$torch_arguments" != none ]; then
      # shellcheck disable=SC2086  # words; a later --compile wins
      "$python" "$here/torch_baseline.py" --compile $compile --steps "$timed" $torch_arguments -- "$workload" |
        tee -a "$out/steps.jsonl" || status=1
    fi
    sample "$workload" "$vocabulary" || status=1
  done
  result "see the table of steps"
  return $status
}

# wanted STEP
wanted() {
  [[ -z $only || ",$only," == *",$1,"* ]] && [[ ",$skip," != *",$1,"* ]]
}

table=() failures=0
# run_step STEP: within its time; ends the whole process group when that is over.
run_step() {
  local name=$1 log=$logs/$1.log seconds status=0 begin end verdict deadline pid
  seconds=$(($(left) < limit[$name] ? $(left) : limit[$name]))
  if [ "$seconds" -lt 10 ]; then
    table+=("$(printf '%-10s %-8s %5s  %s' "$name" "not run" - "no time left")")
    return 0
  fi
  say "$name, at most $seconds s ..."
  begin=$(date +%s.%N) deadline=$((SECONDS + seconds))
  set -m
  (set +m; "step_$name") >"$log" 2>&1 &
  pid=$!
  set +m
  while kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.2; done
  if kill -0 "$pid" 2>/dev/null; then
    kill -TERM -- "-$pid" 2>/dev/null || true
    sleep 2
    kill -KILL -- "-$pid" 2>/dev/null || true
    result "stopped after $seconds s" >>"$log"
    status=124
  fi
  wait "$pid" || status=$((status == 124 ? 124 : $?))
  end=$(date +%s.%N)
  case $status in
    0) verdict=ok ;;
    77) verdict=skipped ;;
    124) verdict='TIME UP' failures=$((failures + 1)) ;;
    *) verdict=FAILED failures=$((failures + 1)) ;;
  esac
  table+=("$(printf '%-10s %-8s %5.0f  %s' "$name" "$verdict" "$(echo "$end $begin" | awk '{ print $1 - $2 }')" \
    "$(sed -n 's/^result: //p' "$log" | tail -n 1)")")
  table+=("$(printf '%-25s card: %s' '' "$("$python" "$here/checks.py" clocks "$out/clocks.csv" "$begin" "$end")")")
  [ "$status" -eq 0 ] || { say "$name: $verdict"; tail -n 60 "$log" | grep -v '│' | tail -n 15 || true; }
}

# Clocks and watts beside everything, with the host's time in seconds.
watch_card() {
  while sample_line=$(nvidia-smi --query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu --format=csv,noheader,nounits -i 0 2>/dev/null); do
    printf '%s,%s\n' "$(date +%s.%N)" "$sample_line"
    sleep 0.5
  done
}

summary() {
  if [ -s "$out/kernels.jsonl" ]; then echo; "$python" "$here/checks.py" kernels "$out/kernels.jsonl"; fi
  if [ -s "$out/steps.jsonl" ]; then echo; "$python" "$here/checks.py" steps "$out/steps.jsonl"; fi
  echo
  echo "$gpu; $(paste -sd' ' "$logs/version.log"); $SECONDS s"
  printf '%s\n' "${table[@]}"
}

prepare
say "$gpu: $trident, ready after $SECONDS s"
watch_card >"$out/clocks.csv" 2>/dev/null &
logger=$!
for step in "${steps[@]}"; do
  ! wanted "$step" || run_step "$step"
done
summary | tee "$out/summary.txt"
[ "$failures" -eq 0 ]
