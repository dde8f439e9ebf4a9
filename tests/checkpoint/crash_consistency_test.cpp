#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint_root.h"
#include "checkpoint/file_hash.h"
#include "tests/checkpoint/crash_model.h"
#include "tests/checkpoint/recording_file_system.h"
#include "tests/checkpoint/small_save.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::ScratchDir;
using testing::CrashModel;
using testing::FileCall;
using testing::RecordingFileSystem;
using Fate = CrashModel::Fate;
using Keep = Fate::Keep;

constexpr const char* kRoot = "checkpoints";

/// A step that must be there, intact, after a power failure that follows calls [from, until).
struct Promise {
  int64_t step = 0;
  size_t from = 0;
  size_t until = 0;
};

/// All calls of a run that saves three times and deletes the oldest checkpoint in between.
struct Recording {
  std::vector<FileCall> calls;
  std::vector<Promise> promises;
};

Recording record(const std::filesystem::path& base) {
  RecordingFileSystem files;
  const CheckpointRoot root(base / kRoot);
  Recording recording;
  const auto save = [&](int64_t step) {
    testing::save_small(files, root, step);
    recording.promises.push_back({step, files.calls().size(), SIZE_MAX});
  };
  const WriterLease lease(root, "small", files);
  save(1);
  save(2);
  recording.promises[0].until = files.calls().size();
  root.retain(files, 1, 0, 2);
  save(3);
  recording.calls = files.calls();
  return recording;
}

std::vector<Fate> fates(int random) {
  std::vector<Fate> fates;
  for (const Keep names : {Keep::all, Keep::none})
    for (const Keep data : {Keep::none, Keep::all}) fates.push_back({names, data, 0});
  for (int seed = 1; seed <= random; ++seed) {
    fates.push_back({Keep::some, Keep::all, static_cast<uint32_t>(seed)});
    fates.push_back({Keep::some, Keep::some, static_cast<uint32_t>(seed)});
    fates.push_back({Keep::all, Keep::some, static_cast<uint32_t>(seed)});
  }
  return fates;
}

std::string print_of(const CrashModel::Files& files) {
  std::string all;
  for (const auto& [path, content] : files) all += path + " " + std::to_string(content.size()) + " " + content;
  return to_hex(hash_bytes(std::as_bytes(std::span(all))));
}

class CrashCheck {
 public:
  /// The calls were made below `base`; what a power failure leaves of them is looked at in `disk`.
  CrashCheck(const Recording& recording, std::filesystem::path base, std::filesystem::path disk)
      : recording_(recording), base_(std::move(base)), disk_(std::move(disk)), root_(disk_ / kRoot) {}

  /// Power fails after every prefix of the calls from `first` on, of which `left_out` never happened. The first thing
  /// that is then not as promised; empty where all is.
  std::string run(const std::vector<Fate>& fates, size_t first = 0, size_t left_out = SIZE_MAX) {
    const auto& calls = recording_.calls;
    CrashModel model(base_);
    for (size_t done = 0; done <= calls.size(); ++done) {
      if (done > 0 && done - 1 != left_out) model.apply(calls[done - 1]);
      if (done < first) continue;
      for (const Fate& fate : fates) {
        const std::string problem = check(model.after_power_failure(fate), done);
        if (problem.empty()) continue;
        return problem + ", power failed after call " + std::to_string(done) +
               (done > 0 ? " (" + to_string(calls[done - 1]) + ")" : "") + ", fate " +
               std::to_string(static_cast<int>(fate.names)) + std::to_string(static_cast<int>(fate.data)) + "." +
               std::to_string(fate.seed);
      }
    }
    return {};
  }
  [[nodiscard]] size_t states() const { return states_; }

 private:
  std::string check(const CrashModel::Files& files, size_t done) {
    std::set<int64_t> promised;
    for (const Promise& promise : recording_.promises)
      if (promise.from <= done && done <= promise.until) promised.insert(promise.step);
    if (!seen_.insert({print_of(files), promised}).second) return {};
    ++states_;
    testing::materialize(files, disk_);
    std::string problem = problem_of_steps(promised);
    if (problem.empty()) problem = problem_of_latest(promised);
    if (problem.empty()) problem = problem_of_sweep();
    return problem;
  }

  std::string problem_of_steps(const std::set<int64_t>& promised) {
    listed_.clear();
    for (const auto& [step, folder] : root_.list()) {
      listed_.insert(step);
      if (std::string problem = testing::problem_with(folder); !problem.empty()) return problem;
    }
    if (!std::includes(listed_.begin(), listed_.end(), promised.begin(), promised.end())) return "a saved step is lost";
    return {};
  }

  [[nodiscard]] std::string problem_of_latest(const std::set<int64_t>& promised) const {
    const auto latest = root_.path() / "latest";
    if (!std::filesystem::exists(latest)) return promised.empty() ? "" : "latest is lost";
    const std::string content = test::read_file(latest);
    for (const int64_t step : listed_) {
      if (content != root_.folder(step).filename().string() + "\n") continue;
      return promised.empty() || step >= *promised.rbegin() ? "" : "latest names an older step";
    }
    return "latest names no checkpoint: '" + content + "'";
  }

  [[nodiscard]] std::string problem_of_sweep() const {
    (void)root_.sweep(posix_file_system());
    if (!std::filesystem::exists(root_.path())) return {};
    for (const std::string& name : testing::names_in(root_.path()))
      if (name != "latest" && !name.starts_with("step_")) return name + " is left after the sweep";
    return {};
  }

  const Recording& recording_;
  std::filesystem::path base_, disk_;
  CheckpointRoot root_;
  std::set<int64_t> listed_;
  std::set<std::pair<std::string, std::set<int64_t>>> seen_;
  size_t states_ = 0;
};

TEST(CheckpointSceptic, T9CrashConsistency) {
  const ScratchDir scratch;
  const Recording recording = record(scratch.path());
  CrashCheck check(recording, scratch.path(), scratch / "disk");
  const int random = std::getenv("TRIDENT_LONG_TESTS") != nullptr ? 300 : 6;
  EXPECT_EQ(check.run(fates(random)), "");
  EXPECT_GT(check.states(), 400U);
}

// If one sync could be left out unnoticed, either it would be needless or T9 would be blind.
TEST(CheckpointSceptic, T9EverySyncIsNeeded) {
  const ScratchDir scratch;
  const Recording recording = record(scratch.path());
  int syncs = 0;
  for (size_t call = 0; call < recording.calls.size(); ++call) {
    if (!is_sync(recording.calls[call])) continue;
    ++syncs;
    CrashCheck check(recording, scratch.path(), scratch / "disk");
    EXPECT_NE(check.run(fates(2), call, call), "")
        << "without call " << call << ", " << to_string(recording.calls[call]);
  }
  EXPECT_GT(syncs, 30);
}

}  // namespace
}  // namespace trident
