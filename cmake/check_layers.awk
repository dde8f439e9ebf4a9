# The include rules of docs/architecture.md; check_layers.sh runs this over every source file of the rooms.
BEGIN {
  split("core kernels parallel/comm parallel/tensor parallel/pipeline parallel/data model data checkpoint plan train launch", list)
  for (i in list) room[list[i]]

  # Room by room, what it may include; itself always.
  sees["core"] = ""
  sees["kernels"] = "core"
  sees["parallel/comm"] = "core kernels"
  sees["parallel/tensor"] = sees["parallel/pipeline"] = sees["parallel/data"] = "core kernels parallel/comm"
  parallel = "parallel/comm parallel/tensor parallel/pipeline parallel/data"
  sees["model"] = "core kernels " parallel
  sees["data"] = "core"
  sees["checkpoint"] = "core parallel/comm model"
  sees["plan"] = "core kernels " parallel " model"
  sees["train"] = "core kernels " parallel " model data checkpoint plan"
  sees["launch"] = sees["train"] " train"

  # Headers of libraries, and the only paths that may include them.
  confine("^mpi\\.h$", "parallel/comm/mpi")
  confine("^nccl\\.h$", "parallel/comm/nccl")
  confine("^(cuda|cublas|cudnn|curand|nvtx|cooperative_groups|cub/|thrust/|nvml)", "core/device kernels/cuda parallel/comm/nccl")
  confine("^(Eigen/|cblas|lapacke|openblas|blis/|dnnl|oneapi/dnnl|mkl)", "kernels/cpu")
  confine("^(hdf5|H5|highfive/)", "checkpoint")
  confine("^yaml-cpp/", "train/config")
  confine("^openssl/", "launch/wire")
  confine("^CLI/", "launch/command_line.cpp")
  confine("^(httplib|prometheus/)", "launch/status")
}

function confine(pattern, paths) { confined[++confinements] = pattern; home[confinements] = paths }

function report(reason) { printf "%s:%d: %s\n", FILENAME, FNR, reason; offences++ }

function room_of(path,   parts, n) {
  n = split(path, parts, "/")
  if (n > 1 && parts[1] == "parallel" && (parts[1] "/" parts[2]) in room) return parts[1] "/" parts[2]
  return n > 1 && parts[1] in room ? parts[1] : ""
}

function listed(item, items) { return index(" " items " ", " " item " ") > 0 }

function check_own(header,   to) {
  if (header ~ /(^|\/)\.\.?(\/|$)/) { report("relative include \"" header "\"; write the path from the root"); return }
  to = room_of(header)
  if (to == "") report("\"" header "\" is in no room; write our headers from the root, libraries with <>")
  else if (to != from && !listed(to, sees[from])) report(from " may not include " to " (\"" header "\")")
}

function check_library(header,   i, k, paths, n, allowed) {
  for (i = 1; i <= confinements; i++) {
    if (header !~ confined[i]) continue
    allowed = 0
    n = split(home[i], paths, " ")
    for (k = 1; k <= n; k++) if (index(FILENAME, paths[k]) == 1) allowed = 1
    if (!allowed) report("<" header "> belongs in " home[i] " only")
  }
  if (room_of(header) != "" && room_of(header) !~ /^data$/) report("<" header ">: write our own headers with quotes")
}

FNR == 1 {
  from = room_of(FILENAME)
  if (from == "") report("in no room")
}
from != "" && /^[ \t]*#[ \t]*include[ \t]*["<]/ {
  quoted = $0 ~ /include[ \t]*"/
  header = $0
  sub(/^[^"<]*["<]/, "", header)
  sub(/[">].*$/, "", header)
  if (quoted && room_of(header) == "" && header !~ /\.\./) {
    # A library header in quotes is still confined.
    before = offences
    check_library(header)
    if (offences == before) check_own(header)
  } else if (quoted) check_own(header)
  else check_library(header)
}
END { exit offences > 0 }
