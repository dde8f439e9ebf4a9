#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "checkpoint/file_system.h"
#include "checkpoint/manifest.h"
#include "checkpoint/rank_file.h"

namespace trident::testing {

/// A small checkpoint of every awkward kind: a vector, matrices and a tensor of three dimensions, cut by rows, by
/// columns and into flat runs that begin and end within rows; elements of padding that no segment names; and a last
/// rank that holds nothing. Its values depend on step, kind, tensor and element only, and among them are NaN with a
/// payload, infinities, negative zero and denormals.
class SampleCheckpoint {
 public:
  static constexpr int kRanks = 5;

  explicit SampleCheckpoint(DType dtype = DType::fp32, bool moments = true, int64_t step = 100);

  /// The bits of an element, in the low half for fp32.
  [[nodiscard]] uint64_t bits(StateKind kind, int tensor, int64_t element) const;
  /// A whole tensor's bytes.
  [[nodiscard]] std::vector<std::byte> tensor_bytes(StateKind kind, int tensor) const;

  [[nodiscard]] RankFileHeader header(int rank) const;
  /// One of a rank's flat arrays; padding is 0xff.
  [[nodiscard]] std::vector<std::byte> array_bytes(int rank, StateKind kind) const;

  /// Writes every rank's files into `folder`, which is there. The result is whole but for extra files: hand it to
  /// commit_checkpoint.
  [[nodiscard]] Manifest write(FileSystem& files, const std::filesystem::path& folder) const;

 private:
  void cut(int rank, int tensor, const LogicalBlock& part, int64_t begin, int64_t count);
  void cut(int rank, int tensor, const LogicalBlock& part) { cut(rank, tensor, part, 0, part.elements()); }

  Manifest manifest_;  ///< without files and digests
  std::vector<std::vector<Segment>> segments_{kRanks};
  std::vector<int64_t> elements_ = std::vector<int64_t>(kRanks);
};

}  // namespace trident::testing
