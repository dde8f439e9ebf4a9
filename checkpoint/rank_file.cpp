#include "checkpoint/rank_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "checkpoint/hashed_file.h"
#include "checkpoint/rank_layout.h"
#include "core/error.h"

namespace trident {
namespace {

/// What HDF5 wrote, from the end of the file up to byte `end`.
void append_layout(HashedFile& file, const hdf5::Image& image, int64_t end) {
  std::vector<std::byte> piece;
  while (file.size() < end) {
    piece.resize(static_cast<size_t>(std::min(file.rest_of_block(), end - file.size())));
    image.read(file.size(), piece);
    file.append(piece);
  }
}

void append_array(HashedFile& file, const StateSource& source, StateKind kind, int64_t bytes) {
  for (int64_t done = 0; done < bytes;) {
    const int64_t wanted = std::min(file.rest_of_block(), bytes - done);
    const std::span<const std::byte> piece = source(kind, done, wanted);
    TRIDENT_CHECK(!piece.empty() && std::ssize(piece) <= wanted);
    file.append(piece);
    done += std::ssize(piece);
  }
}

/// Arrays with their first byte, in the file's order.
std::vector<std::pair<int64_t, StateKind>> arrays_of(const RankLayout& layout) {
  std::vector<std::pair<int64_t, StateKind>> arrays;
  for (size_t kind = 0; kind < layout.payload.size(); ++kind) {
    if (layout.payload[kind] != 0) arrays.emplace_back(layout.payload[kind], static_cast<StateKind>(kind));
  }
  std::sort(arrays.begin(), arrays.end());
  return arrays;
}

}  // namespace

std::string rank_file_name(int rank) { return fmt::format("rank_{:05}.h5", rank); }

std::string block_hash_file_name(const std::string& rank_file) {
  return rank_file.substr(0, rank_file.rfind('.')) + ".sum";
}

RankFile write_rank_file(FileSystem& files, const std::filesystem::path& folder, const RankFileHeader& header,
                         const StateSource& source) {
  const RankLayout layout(header);
  RankFile result;
  result.name = rank_file_name(header.rank);
  result.bytes = layout.image.bytes();
  result.elements = header.elements;
  result.payload = layout.payload;
  result.segments = header.segments;

  HashedFile file(files, folder / result.name, result.bytes);
  for (const auto& [begin, kind] : arrays_of(layout)) {
    append_layout(file, layout.image, begin);
    append_array(file, source, kind, header.elements * static_cast<int64_t>(size_of(header.dtype)));
  }
  append_layout(file, layout.image, result.bytes);
  const BlockHashes hashes = file.finish();
  result.hash = hashes.file_hash();
  write_file(files, folder / block_hash_file_name(result.name), encode(hashes));
  return result;
}

}  // namespace trident
