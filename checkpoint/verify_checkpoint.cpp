#include "checkpoint/verify_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "checkpoint/checkpoint_folder.h"
#include "checkpoint/file_hash.h"
#include "checkpoint/manifest.h"
#include "checkpoint/rank_file.h"
#include "checkpoint/tensor_proof.h"
#include "checkpoint/verified_files.h"
#include "core/error.h"

namespace trident {
namespace {

/// Checks a checkpoint whose manifest is good. A damaged block is described once all files are read: only then do the
/// digests tell which of its tensors have changed.
class Verifier {
 public:
  Verifier(const CheckpointFolder& folder, const Manifest& manifest)
      : folder_(folder),
        manifest_(manifest),
        proof_(manifest),
        buffer_(std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(kHashBlockBytes))) {}

  std::vector<CheckpointProblem> run() {
    for (size_t file = 0; file < manifest_.rank_files.size(); ++file) check_rank_file(file);
    for (const ExtraFile& file : manifest_.extra_files) check_extra_file(file);
    for (const Damage& damage : damages_) describe(damage);
    compare_digests();
    return std::move(problems_);
  }

 private:
  /// Bytes of a rank file that are not what they were.
  struct Damage {
    size_t problem = 0;  ///< its place in problems_
    size_t file = 0;
    int64_t offset = 0;
    int64_t count = 0;
  };

  /// Runs `step`; damage becomes a problem, and so does a failing disk, but not a file that this user may not read.
  template <class Step>
  bool attempt(const std::string& file, const Step& step) {
    try {
      step();
      return true;
    } catch (const DamagedCheckpoint& damage) {
      problems_.push_back(damage.problem_found());
    } catch (const Error& error) {
      if (error.code() == ErrorCode::config) throw;
      problems_.push_back({file, {}, {}, error.problem()});
    }
    return false;
  }

  void check_rank_file(size_t file) {
    const RankFile& rank_file = manifest_.rank_files[file];
    std::optional<InputFile> input;
    const bool opened = attempt(rank_file.name, [&] { input.emplace(folder_.open(rank_file.name, rank_file.bytes)); });
    std::optional<BlockHashes> expected;
    attempt(block_hash_file_name(rank_file.name), [&] { expected = read_block_hashes(folder_, rank_file); });
    if (!opened) return proof_.lose(file, 0, rank_file.bytes);

    BlockHashes found{rank_file.bytes, {}};
    for (int64_t offset = 0; offset < rank_file.bytes; offset += kHashBlockBytes) {
      const int64_t count = std::min(kHashBlockBytes, rank_file.bytes - offset);
      const std::span<std::byte> bytes(buffer_.get(), static_cast<size_t>(count));
      const int64_t block = offset / kHashBlockBytes;
      if (!attempt(rank_file.name, [&] { input->read(offset, bytes); })) {
        problems_.back().block = block;
        proof_.lose(file, offset, count);
        damages_.push_back({problems_.size() - 1, file, offset, count});
        found.blocks.push_back(0);
        continue;
      }
      proof_.add(file, offset, bytes);
      found.blocks.push_back(hash_block(bytes));
      if (!expected || found.blocks.back() == expected->blocks[static_cast<size_t>(block)]) continue;
      damages_.push_back({problems_.size(), file, offset, count});
      problems_.push_back({rank_file.name, {}, block, "does not match its hash"});
    }
    // Without block hashes the manifest still tells whether the file as a whole is what it was.
    if (expected || found.file_hash() == rank_file.hash) return;
    damages_.push_back({problems_.size(), file, 0, rank_file.bytes});
    problems_.push_back({rank_file.name, {}, {}, "does not match the manifest's hash"});
  }

  void check_extra_file(const ExtraFile& file) {
    if (file.name == kMasterViewName && !folder_.has(file.name)) return;
    attempt(file.name, [&] {
      const Hash128 found = hash_bytes(folder_.content(file.name, file.bytes));
      if (found != file.hash)
        throw DamagedCheckpoint(
            folder_.path(),
            {file.name, {}, {}, fmt::format("its hash is {}, the manifest says {}", to_hex(found), to_hex(file.hash))});
    });
  }

  [[nodiscard]] const std::string& name_of(const TensorProof::State& state) const {
    return manifest_.tensors[static_cast<size_t>(state.tensor)].name;
  }

  void describe(const Damage& damage) {
    std::vector<TensorProof::State> changed = proof_.states_in(damage.file, damage.offset, damage.count);
    std::erase_if(changed, [&](const TensorProof::State& state) { return proof_.holds(state); });
    for (const auto& state : changed) explained_.insert({state.tensor, state.kind});
    CheckpointProblem& problem = problems_[damage.problem];
    if (changed.empty()) {
      problem.detail += "; metadata or padding: every tensor with elements in it matches its digest";
      return;
    }
    problem.tensor = name_of(changed.front());
    std::set<int32_t> tensors;
    for (const auto& state : changed) tensors.insert(state.tensor);
    problem.detail += fmt::format("; damaged elements: {} of {}", to_string(changed.front().kind), problem.tensor);
    if (tensors.size() > 1) problem.detail += fmt::format(" and {} more tensors", tensors.size() - 1);
  }

  /// What no damaged block explains.
  void compare_digests() {
    for (size_t tensor = 0; tensor < manifest_.tensors.size(); ++tensor) {
      for (int kind = 0; kind < manifest_.states(); ++kind) {
        const TensorProof::State state{static_cast<int32_t>(tensor), static_cast<StateKind>(kind)};
        if (proof_.holds(state) || proof_.lost(state) || explained_.contains({state.tensor, state.kind})) continue;
        problems_.push_back({Manifest::kFileName,
                             name_of(state),
                             {},
                             fmt::format("digest of {} is {:016x}, the manifest says {:016x}", to_string(state.kind),
                                         proof_.digest(state), manifest_.digests[tensor][static_cast<size_t>(kind)])});
      }
    }
  }

  const CheckpointFolder& folder_;
  const Manifest& manifest_;
  TensorProof proof_;
  std::unique_ptr<std::byte[]> buffer_;
  std::vector<CheckpointProblem> problems_;
  std::vector<Damage> damages_;
  std::set<std::pair<int32_t, StateKind>> explained_;  ///< states that a damaged block names
};

std::vector<std::string> strangers_in(const CheckpointFolder& folder, const Manifest& manifest) {
  std::set<std::string> known{Manifest::kFileName};
  for (const RankFile& file : manifest.rank_files) known.insert({file.name, block_hash_file_name(file.name)});
  for (const ExtraFile& file : manifest.extra_files) known.insert(file.name);
  std::vector<std::string> strangers = folder.names();
  std::erase_if(strangers, [&](const std::string& name) { return known.contains(name); });
  return strangers;
}

}  // namespace

CheckpointVerdict verify_checkpoint(const std::filesystem::path& path) {
  using Kind = CheckpointVerdict::Kind;
  const auto single = [](Kind kind, CheckpointProblem problem) {
    return CheckpointVerdict{kind, {std::move(problem)}, {}};
  };
  std::optional<CheckpointFolder> folder;
  try {
    folder.emplace(path);
  } catch (const DamagedCheckpoint& damage) {
    return single(Kind::corrupt, damage.problem_found());
  }
  Manifest manifest;
  try {
    manifest = read_manifest(path);
    require_exact_cover(manifest, path.string());
  } catch (const NewerFormat& error) {
    return single(Kind::newer_format, {Manifest::kFileName, {}, {}, error.problem()});
  } catch (const Error& error) {
    if (error.code() == ErrorCode::config) throw;
    const bool missing = error.code() == ErrorCode::input_missing;
    return single(missing ? Kind::incomplete : Kind::corrupt, {Manifest::kFileName, {}, {}, error.problem(), missing});
  }
  CheckpointVerdict verdict;
  verdict.problems = Verifier(*folder, manifest).run();
  verdict.strangers = strangers_in(*folder, manifest);
  if (std::any_of(verdict.problems.begin(), verdict.problems.end(),
                  [](const auto& problem) { return !problem.missing; }))
    verdict.kind = Kind::corrupt;
  else if (!verdict.problems.empty())
    verdict.kind = Kind::incomplete;
  return verdict;
}

}  // namespace trident
