#pragma once

#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "train/saved_state.h"

namespace trident {

/// What a rank tells rank 0 of the file that it wrote.
struct SaveReport {
  std::string error;  ///< empty: written and synced
  RankFile file;      ///< without segments: they are known
  std::vector<PartialDigest> digests;
};

[[nodiscard]] std::string encode(const SaveReport& report);
[[nodiscard]] SaveReport decode_save_report(const std::string& text);
[[nodiscard]] std::string encode(const std::vector<Segment>& segments);
[[nodiscard]] std::vector<Segment> decode_segments(const std::string& text);

/// How rank 0 fared with the last part of a save.
struct CommitResult {
  std::string error;
  bool copies_differ = false;  ///< the error is that
  int rank = -1;               ///< whose error it is; -1: rank 0's own
};

[[nodiscard]] std::string encode(const CommitResult& result);
[[nodiscard]] CommitResult decode_commit_result(const std::string& text);

/// Digests of whole tensors, of all ranks' parts.
struct SummedDigests {
  std::vector<TensorDigest> digests;  ///< by tensor, of what checkpoints keep
  std::string difference;             ///< empty, or which tensor's copies differ and who holds them
};
[[nodiscard]] SummedDigests sum_digests(const std::vector<LogicalTensor>& tensors,
                                        const std::vector<std::vector<PartialDigest>>& by_rank);

}  // namespace trident
