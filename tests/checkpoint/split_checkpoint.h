#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/file_system.h"
#include "checkpoint/manifest.h"
#include "checkpoint/rank_file.h"

namespace trident::testing {

/// Where a model's elements lie: each rank's segments and the length of its flat arrays.
struct Splitting {
  struct Rank {
    std::vector<Segment> segments;
    int64_t elements = 0;
  };
  std::vector<Rank> ranks;
};

/// Consecutive tensors to each of `pp` stages; there each tensor over `tp` ranks by rows, by columns or whole on the
/// first, unevenly; each of those flat arrays, with gaps, cut into `dp` ranges at any element.
[[nodiscard]] Splitting random_splitting(const std::vector<LogicalTensor>& tensors, int pp, int tp, int dp,
                                         std::mt19937& random);

/// A checkpoint whose elements follow from its seed alone. Every sixteenth element is one that conversions and
/// arithmetic would spoil: NaN of both signs with a payload, infinities, zeros, the smallest denormals.
class SplitCheckpoint {
 public:
  std::vector<LogicalTensor> tensors;
  DType dtype = DType::fp32;
  bool moments = true;
  uint64_t seed = 1;
  int64_t step = 100;
  std::string run_id = "run";

  /// Element `place` of a tensor, as its bits.
  [[nodiscard]] uint64_t bits(StateKind kind, size_t tensor, int64_t place) const;
  [[nodiscard]] RankFileHeader header(int rank, const Splitting::Rank& part) const;
  /// One of a rank's flat arrays; what no segment names is 0xa5.
  [[nodiscard]] std::vector<std::byte> array_bytes(const Splitting::Rank& part, StateKind kind) const;
  /// Writes every rank's files into `folder`, which is there. The result is whole but for extra files: hand it to
  /// commit_checkpoint.
  [[nodiscard]] Manifest write(FileSystem& files, const std::filesystem::path& folder,
                               const Splitting& splitting) const;
  /// Commits it into the root `folder`. Returns the checkpoint's folder.
  std::filesystem::path save(const std::filesystem::path& folder, const Splitting& splitting) const;

 private:
  [[nodiscard]] std::vector<std::byte> elements(StateKind kind, const Segment& segment) const;
  void add_digests(const Splitting::Rank& part, Manifest& manifest) const;
};

/// Vectors and matrices, with extents of 1 and tensors smaller than the number of ranks.
[[nodiscard]] std::vector<LogicalTensor> small_tensors();

}  // namespace trident::testing
