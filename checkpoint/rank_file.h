#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/file_system.h"
#include "checkpoint/manifest.h"

namespace trident {

/// What a rank's file says of itself, for people who open it with HDF5 tools; the loader reads the manifest instead.
struct RankFileHeader {
  std::string run_id;
  int64_t step = 0;
  int rank = 0;
  int dp_rank = 0, tp_rank = 0, pp_rank = 0;
  DType dtype = DType::fp32;
  bool moments = true;
  int64_t elements = 0;
  std::vector<LogicalTensor> tensors;  ///< the checkpoint's
  std::vector<Segment> segments;
};

/// rank_00003.h5, rank_00003.sum
[[nodiscard]] std::string rank_file_name(int rank);
[[nodiscard]] std::string block_hash_file_name(const std::string& rank_file);

/// Gives bytes [begin, begin + count) of a flat array. The result is valid until the next call; may be shorter than
/// `count`, never empty.
using StateSource = std::function<std::span<const std::byte>(StateKind kind, int64_t begin, int64_t count)>;

/// Writes the rank's file and its block hashes into `folder`, both synced. HDF5 lays the file out in memory; the bytes
/// go through `files`, the payload straight from `source` while it is hashed.
[[nodiscard]] RankFile write_rank_file(FileSystem& files, const std::filesystem::path& folder,
                                       const RankFileHeader& header, const StateSource& source);

/// The bytes of master.h5: a view in which HDF5 tools see every logical tensor whole, as virtual datasets over the rank
/// files: /model/layers/3/attention/query/weight, /optimizer/exp_avg/layers/3/…, /optimizer/exp_avg_sq/….
/// Nothing reads it back: it may be deleted without loss.
[[nodiscard]] std::vector<std::byte> make_master_view(const Manifest& manifest);
inline constexpr const char* kMasterViewName = "master.h5";

}  // namespace trident
