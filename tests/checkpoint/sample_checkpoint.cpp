#include "tests/checkpoint/sample_checkpoint.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include "checkpoint/digest.h"

namespace trident::testing {
namespace {

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ULL;
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ULL;
  return x ^ (x >> 32);
}

template <class T, class Bits>
Bits bits_of(uint64_t random) {
  using limits = std::numeric_limits<T>;
  const std::array<T, 6> special = {limits::quiet_NaN(),  limits::infinity(),   -limits::infinity(), T{-0.0},
                                    limits::denorm_min(), -limits::denorm_min()};
  if (random % 8 == 0) {
    const size_t which = random / 8 % special.size();
    return std::bit_cast<Bits>(special[which]) ^ Bits { which == 0 ? 0x1234U : 0U };
  }
  return std::bit_cast<Bits>(static_cast<T>(static_cast<int64_t>(random >> 20)) * T{1e-12});
}

}  // namespace

SampleCheckpoint::SampleCheckpoint(DType dtype, bool moments, int64_t step) {
  manifest_.run_id = "sample";
  manifest_.step = step;
  manifest_.consumed_samples = step * 8;
  manifest_.seed = 1234;
  manifest_.layout = {.dp = kRanks};
  manifest_.dtype = dtype;
  manifest_.moments = moments;
  manifest_.tensors = {{"embedding.weight", {13, 6}},
                       {"layers.0.attention.query.weight", {8, 6}},
                       {"layers.0.norm.weight", {7}},
                       {"layers.1.mlp.up.weight", {6, 10}},
                       {"layers.10.kernel", {2, 3, 4}}};
  cut(0, 0, {0, 7, 0, 6});  // rows
  cut(1, 0, {7, 6, 0, 6});
  cut(0, 1, {0, 8, 0, 2});  // columns, of which one half is cut again within a row
  cut(1, 1, {0, 8, 2, 4}, 0, 13);
  cut(2, 1, {0, 8, 2, 4}, 13, 19);
  cut(2, 2, {0, 3, 0, 1});
  cut(3, 2, {3, 4, 0, 1});
  cut(1, 3, whole_block({6, 10}), 0, 23);  // flat runs
  elements_[2] += 5;                       // padding
  cut(2, 3, whole_block({6, 10}), 23, 4);
  cut(3, 3, whole_block({6, 10}), 27, 33);
  cut(2, 4, whole_block({2, 3, 4}), 0, 7);
  cut(3, 4, whole_block({2, 3, 4}), 7, 17);
  elements_[3] += 2;
}

void SampleCheckpoint::cut(int rank, int tensor, const LogicalBlock& part, int64_t begin, int64_t count) {
  auto& elements = elements_[static_cast<size_t>(rank)];
  for (const LogicalBlock& block : rectangles_of(part, begin, count)) {
    segments_[static_cast<size_t>(rank)].push_back({tensor, block, elements});
    elements += block.elements();
  }
}

uint64_t SampleCheckpoint::bits(StateKind kind, int tensor, int64_t element) const {
  const auto place = (static_cast<uint64_t>(manifest_.step) << 40) + (static_cast<uint64_t>(kind) << 32) +
                     (static_cast<uint64_t>(tensor) << 24) + static_cast<uint64_t>(element);
  return manifest_.dtype == DType::fp32 ? bits_of<float, uint32_t>(mix(place)) : bits_of<double, uint64_t>(mix(place));
}

std::vector<std::byte> SampleCheckpoint::tensor_bytes(StateKind kind, int tensor) const {
  const int64_t elements = manifest_.tensors[static_cast<size_t>(tensor)].shape.elements();
  const size_t size = size_of(manifest_.dtype);
  std::vector<std::byte> bytes(static_cast<size_t>(elements) * size);
  for (int64_t i = 0; i < elements; ++i) {
    const uint64_t value = bits(kind, tensor, i);
    std::memcpy(bytes.data() + static_cast<size_t>(i) * size, &value, size);  // little-endian
  }
  return bytes;
}

RankFileHeader SampleCheckpoint::header(int rank) const {
  RankFileHeader header;
  header.run_id = manifest_.run_id;
  header.step = manifest_.step;
  header.rank = rank;
  header.dp_rank = rank;
  header.dtype = manifest_.dtype;
  header.moments = manifest_.moments;
  header.elements = elements_[static_cast<size_t>(rank)];
  header.tensors = manifest_.tensors;
  header.segments = segments_[static_cast<size_t>(rank)];
  return header;
}

std::vector<std::byte> SampleCheckpoint::array_bytes(int rank, StateKind kind) const {
  const size_t size = size_of(manifest_.dtype);
  std::vector<std::byte> bytes(static_cast<size_t>(elements_[static_cast<size_t>(rank)]) * size, std::byte{0xff});
  for (const auto& [tensor, block, offset] : segments_[static_cast<size_t>(rank)]) {
    const int64_t columns = whole_block(manifest_.tensors[static_cast<size_t>(tensor)].shape).columns;
    std::byte* to = bytes.data() + static_cast<size_t>(offset) * size;
    for (int64_t row = block.row0; row < block.row0 + block.rows; ++row) {
      for (int64_t column = block.column0; column < block.column0 + block.columns; ++column, to += size) {
        const uint64_t value = bits(kind, tensor, row * columns + column);
        std::memcpy(to, &value, size);
      }
    }
  }
  return bytes;
}

Manifest SampleCheckpoint::write(FileSystem& files, const std::filesystem::path& folder) const {
  Manifest manifest = manifest_;
  for (int rank = 0; rank < kRanks; ++rank) {
    std::array<std::vector<std::byte>, kStateKinds> arrays;
    for (int kind = 0; kind < manifest.states(); ++kind)
      arrays[static_cast<size_t>(kind)] = array_bytes(rank, static_cast<StateKind>(kind));
    const StateSource source = [&](StateKind kind, int64_t begin, int64_t count) {
      return std::span<const std::byte>(arrays[static_cast<size_t>(kind)])
          .subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
    };
    manifest.rank_files.push_back(write_rank_file(files, folder, header(rank), source));
  }
  for (int tensor = 0; std::cmp_less(tensor, manifest.tensors.size()); ++tensor) {
    TensorDigest& digest = manifest.digests.emplace_back();
    const LogicalBlock whole = whole_block(manifest.tensors[static_cast<size_t>(tensor)].shape);
    for (int kind = 0; kind < manifest.states(); ++kind)
      digest[static_cast<size_t>(kind)] =
          digest_of(tensor_bytes(static_cast<StateKind>(kind), tensor), manifest.dtype, whole, whole.columns);
  }
  return manifest;
}

}  // namespace trident::testing
