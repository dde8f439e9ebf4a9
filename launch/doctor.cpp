#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/statvfs.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "core/allocator.h"
#include "core/atomic_file.h"
#include "core/build_features.h"
#include "core/cuda_devices.h"
#include "kernels/gemm_tuning.h"
#include "launch/options.h"
#include "launch/verbs.h"
#include "plan/predict.h"
#include "train/calibrate.h"
#include "train/config/cluster_file.h"
#include "train/job_setup.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

enum class Verdict { ok, note, missing };

struct Finding {
  std::string subject;
  std::string found;
  Verdict verdict = Verdict::ok;
  std::string advice;
};

std::string cpu_field(const std::string& field) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(field, 0) == 0 && line.find(':') != std::string::npos) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

Finding processors() {
  const std::string flags = " " + cpu_field("flags") + " ";
  const bool avx512 = flags.find(" avx512f ") != std::string::npos;
  const bool avx2 = flags.find(" avx2 ") != std::string::npos;
  return {"processors",
          fmt::format("{} × {}, {}", available_cpus(), cpu_field("model name"),
                      avx512 ? "AVX-512"
                      : avx2 ? "AVX2"
                             : "no AVX2"),
          avx2 ? Verdict::ok : Verdict::note, avx2 ? "" : "kernels run in their portable form, several times slower"};
}

Finding memory() {
  return {"memory", fmt::format("{:.1f} GiB available", static_cast<double>(available_memory()) / (1 << 30)),
          Verdict::ok, ""};
}

// c = a + s·b over arrays that no cache holds, by all threads; bytes as counted by STREAM.
Finding bandwidth() {
  constexpr int64_t kElements = int64_t{1} << 24, kBlock = 1 << 16;
  const Stream stream = Stream::cpu(available_cpus());
  const auto buffer = map_memory(3 * kElements * sizeof(float));
  auto* a = static_cast<float*>(buffer->data());
  double best = 0;
  for (int round = 0; round < 4; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    stream.pool().parallel_for(kElements / kBlock, [&](int64_t block) {
      float* x = a + block * kBlock;
      for (int64_t i = 0; i < kBlock; ++i) x[i] = x[i + kElements] + 3.0f * x[i + 2 * kElements];
    });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 12e-9 * static_cast<double>(kElements) / seconds);
  }
  return {"bandwidth", fmt::format("{:.0f} GB/s (triad, {} threads)", best, available_cpus()), Verdict::ok, ""};
}

Finding space(const std::string& subject, const char* path, double enough_gib, const std::string& advice) {
  struct statvfs status {};
  if (statvfs(path, &status) != 0) return {subject, fmt::format("{} is not there", path), Verdict::missing, advice};
  const double free_gib = static_cast<double>(status.f_bavail) * static_cast<double>(status.f_frsize) / (1 << 30);
  const bool enough = free_gib >= enough_gib;
  return {subject, fmt::format("{:.1f} GiB free in {}", free_gib, path), enough ? Verdict::ok : Verdict::note,
          enough ? "" : advice};
}

bool on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');)
    if (fs::exists(fs::path(folder) / program)) return true;
  return false;
}

Finding mpi() {
  if (on_path("mpirun")) return {"mpi", "mpirun is on PATH", Verdict::ok, ""};
  return {"mpi", "no mpirun", Verdict::note, "one rank needs none; for more, install openmpi-bin"};
}

Finding gpus() {
  const auto names = cuda_device_names();
  if (!names.empty()) return {"gpu", fmt::format("{}", fmt::join(names, ", ")), Verdict::ok, ""};
  if (build_features::cuda == "no") return {"gpu", "this build has no CUDA", Verdict::note, "jobs run on the CPU"};
  return {"gpu", fmt::format("none (built with CUDA {})", build_features::cuda), Verdict::note, "jobs run on the CPU"};
}

Finding matrix_libraries() {
  const auto names = gemm_library_names();
  return {"matrix", fmt::format("{}", fmt::join(names, ", ")), names.empty() ? Verdict::missing : Verdict::ok,
          names.empty() ? "install libopenblas0-serial" : ""};
}

std::string word(Verdict verdict) {
  return verdict == Verdict::ok ? "ok" : verdict == Verdict::note ? "note" : "missing";
}

// The planner's description of this machine, and how well it fits what was measured.
int write_calibration(const std::string& path) {
  const Calibration found = calibrate();
  const plan::ClusterSpec& cluster = found.cluster;
  write_file_atomically(path, "# Measured by `trident doctor --calibrate` on " + cpu_field("model name") + ", " +
                                  std::to_string(cluster.accelerators_per_node) +
                                  " processors. Peaks are those of a large matrix product.\n" + to_yaml(cluster));
  std::cout << fmt::format(
      "{} processors: products {:.1f} GFLOP/s and memory {:.1f} GB/s each, messages {:.2f} GB/s and {:.1f} us\n",
      cluster.accelerators_per_node, 1e-9 * cluster.peak_fp32, 1e-9 * cluster.memory_bandwidth,
      1e-9 * cluster.inside.bandwidth, 1e6 * cluster.inside.latency);
  std::cout << fmt::format("fitted: matmul {:.3g}, memory {:.3g}, attention {:.3g}\n", cluster.fitted.matmul,
                           cluster.fitted.memory, cluster.fitted.attention);
  for (const plan::MeasuredStep& step : found.steps)
    std::cout << fmt::format("  {} wide, {} tokens: measured {:.1f} ms, predicted {:.1f} ms\n",
                             step.workload.model.hidden_size, step.workload.tokens(), 1e3 * step.step_s,
                             1e3 * plan::predict(step.workload, step.layout, cluster).step_s);
  std::cout << fmt::format("written to {}; `trident plan --cluster {}` or TRIDENT_CLUSTER takes it\n", path, path);
  return 0;
}

int run(bool as_json) {
  const std::vector<Finding> findings = {processors(),
                                         memory(),
                                         bandwidth(),
                                         space("shared memory", "/dev/shm", 1.0, "containers: raise --shm-size"),
                                         space("disk", ".", 1.0, "checkpoints need room"),
                                         matrix_libraries(),
                                         mpi(),
                                         gpus()};
  bool usable = true;
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    usable = usable && finding.verdict != Verdict::missing;
    json.push_back({{"subject", finding.subject},
                    {"found", finding.found},
                    {"verdict", word(finding.verdict)},
                    {"advice", finding.advice}});
    if (!as_json)
      std::cout << fmt::format("{:14} {:60} {}\n", finding.subject,
                               finding.found + (finding.advice.empty() ? "" : "; " + finding.advice),
                               word(finding.verdict));
  }
  if (as_json) std::cout << json.dump(2) << '\n';
  return usable ? 0 : 1;
}

}  // namespace

void add_doctor(Verb& program, Action& action) {
  Verb verb = program.add_verb("doctor", "What this machine has and lacks");
  auto json = std::make_shared<bool>(false);
  add_json(verb, *json);
  auto file = std::make_shared<std::string>();
  verb.add_option("--calibrate", *file, "Measure this machine for the planner and write its cluster file")
      .type_name("FILE");
  verb.footer("Exit code 1 where something is missing that every job needs.");
  verb.on_parsed([&action, json, file] {
    action = [json, file] { return file->empty() ? run(*json) : write_calibration(*file); };
  });
}

}  // namespace trident
