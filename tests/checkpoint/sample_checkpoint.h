#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "tests/checkpoint/split_checkpoint.h"

namespace trident::testing {

/// A small checkpoint of every awkward kind: a vector, matrices and a tensor of three dimensions, cut by rows, by
/// columns and into flat runs that begin and end within rows; elements of padding that no segment names; and a last
/// rank that holds nothing. Its values depend on step, kind, tensor and element only.
class SampleCheckpoint {
 public:
  static constexpr int kRanks = 5;

  explicit SampleCheckpoint(DType dtype = DType::fp32, bool moments = true, int64_t step = 100);

  /// The bits of an element, in the low half for fp32.
  [[nodiscard]] uint64_t bits(StateKind kind, int tensor, int64_t element) const;
  /// A whole tensor's bytes.
  [[nodiscard]] std::vector<std::byte> tensor_bytes(StateKind kind, int tensor) const;
  [[nodiscard]] RankFileHeader header(int rank) const { return content_.header(rank, part(rank)); }
  /// One of a rank's flat arrays.
  [[nodiscard]] std::vector<std::byte> array_bytes(int rank, StateKind kind) const {
    return content_.array_bytes(part(rank), kind);
  }
  /// As SplitCheckpoint::write.
  [[nodiscard]] Manifest write(FileSystem& files, const std::filesystem::path& folder) const {
    return content_.write(files, folder, splitting_);
  }

 private:
  [[nodiscard]] const Splitting::Rank& part(int rank) const { return splitting_.ranks.at(static_cast<size_t>(rank)); }
  void cut(int rank, int tensor, const LogicalBlock& part, int64_t begin, int64_t count);
  void cut(int rank, int tensor, const LogicalBlock& part) { cut(rank, tensor, part, 0, part.elements()); }

  SplitCheckpoint content_;
  Splitting splitting_{std::vector<Splitting::Rank>(kRanks)};
};

}  // namespace trident::testing
