#pragma once

#include <nlohmann/json.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/file_hash.h"
#include "checkpoint/logical_block.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/shape.h"

namespace trident {

/// What the optimizer keeps for every element of every parameter.
enum class StateKind { master, exp_avg, exp_avg_sq };
inline constexpr int kStateKinds = 3;
[[nodiscard]] std::string_view to_string(StateKind kind);
using PerState = std::array<int64_t, kStateKinds>;
/// Of a whole logical tensor, by StateKind: independent of how it is sharded (checkpoint/digest.h).
using TensorDigest = std::array<uint64_t, kStateKinds>;

struct LogicalTensor {
  std::string name;  ///< layers.3.attention.query.weight
  Shape shape;       ///< without padding
  bool operator==(const LogicalTensor&) const = default;
};

/// A rectangle of a logical tensor as it lies in a rank's flat arrays: row by row, without gaps, from element `offset`.
struct Segment {
  int32_t tensor = 0;  ///< its place among the checkpoint's tensors
  LogicalBlock block;
  int64_t offset = 0;
  bool operator==(const Segment&) const = default;
};

/// One rank's file, `rank_00003.h5` with `rank_00003.sum`.
struct RankFile {
  std::string name;
  int64_t bytes = 0;
  Hash128 hash;          ///< BlockHashes::file_hash
  int64_t elements = 0;  ///< of each of the flat arrays
  PerState payload{};    ///< byte at which each flat array begins; 0 where there is none
  std::vector<Segment> segments;
  bool operator==(const RankFile&) const = default;
};

/// Any other file of the checkpoint: the configuration, a tokenizer, the view.
struct ExtraFile {
  std::string name;
  int64_t bytes = 0;
  Hash128 hash;  ///< hash_bytes of the whole file
  bool operator==(const ExtraFile&) const = default;
};

/// The layout it was saved under. Only for people and for restarts from memory: loading does not depend on it.
struct SavedLayout {
  int dp = 1;
  int tp = 1;
  int pp = 1;
  int virtual_stages = 1;
  int zero_stage = 1;
  bool operator==(const SavedLayout&) const = default;
};

/// What a checkpoint is, `MANIFEST.json`: written last, hashes itself.
struct Manifest {
  static constexpr int kFormat = 1;     ///< written
  static constexpr int kMinReader = 1;  ///< oldest reader that understands what is written
  static constexpr int64_t kMaxBytes = int64_t{64} << 20;
  static constexpr size_t kMaxSegments = size_t{2} << 20;
  static constexpr size_t kMaxOtherValues = size_t{1} << 19;  ///< JSON keys and values that belong to no segment
  static constexpr const char* kFileName = "MANIFEST.json";

  std::string run_id;
  int64_t step = 0;  ///< updates done
  int64_t consumed_samples = 0;
  std::optional<int64_t> parent_step;  ///< the checkpoint before it in the same run
  uint64_t seed = 0;
  SavedLayout layout;
  DType dtype = DType::fp32;                          ///< of the state: fp32 or fp64
  bool moments = true;                                ///< false: weights alone
  nlohmann::json trainer = nlohmann::json::object();  ///< what the trainer keeps besides (logical shards, loss scale …)
  Hash128 config_hash, tokenizer_hash;
  std::vector<LogicalTensor> tensors;
  std::vector<TensorDigest> digests;  ///< beside tensors
  std::vector<RankFile> rank_files;
  std::vector<ExtraFile> extra_files;

  [[nodiscard]] int states() const { return moments ? kStateKinds : 1; }
  /// All files, the manifest not counted.
  [[nodiscard]] int64_t bytes() const;
  bool operator==(const Manifest&) const = default;
};

/// Thrown for a checkpoint that only a newer program can read.
class NewerFormat : public Error {
 public:
  using Error::Error;
};

/// One line for each tensor and each rank's file; ends with its own hash (docs/checkpoint-format.md).
[[nodiscard]] std::string encode(const Manifest& manifest);
/// Checks the hash, then every key and every number: names are plain file names, blocks lie in their tensors, segments
/// in their files' arrays, arrays in the file, none over another. Unknown keys are skipped. Throws Error(bad_data)
/// starting with `source`; NewerFormat.
[[nodiscard]] Manifest decode_manifest(std::string_view text, const std::string& source);
/// Reads at most kMaxBytes of a regular file. Error(input_missing) where it is not there.
[[nodiscard]] Manifest read_manifest(const std::filesystem::path& folder);

/// Throws Error(bad_data) naming tensor, row and column of the first element that is in no segment or in several.
/// O(n log n) for n segments. `source` names the checkpoint.
void require_exact_cover(const Manifest& manifest, const std::string& source);

}  // namespace trident
