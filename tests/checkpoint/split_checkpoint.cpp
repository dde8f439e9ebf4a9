#include "tests/checkpoint/split_checkpoint.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

#include "checkpoint/checkpoint_root.h"
#include "checkpoint/digest.h"
#include "tests/checkpoint/state_source.h"

namespace trident::testing {
namespace {

int64_t draw(std::mt19937& random, int64_t low, int64_t high) {  // both inclusive; the same in every library
  return low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low + 1));
}

/// `parts` consecutive ranges of [0, count), some of them empty.
std::vector<std::pair<int64_t, int64_t>> cut(int64_t count, int parts, std::mt19937& random) {
  std::vector<int64_t> ends{0, count};
  for (int i = 1; i < parts; ++i) ends.push_back(draw(random, 0, count));
  std::sort(ends.begin(), ends.end());
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (size_t i = 0; i + 1 < ends.size(); ++i) ranges.emplace_back(ends[i], ends[i + 1] - ends[i]);
  return ranges;
}

/// The rectangles of a tensor that `tp` ranks hold.
std::vector<LogicalBlock> shards_of(const Shape& shape, int tp, std::mt19937& random) {
  const LogicalBlock whole = whole_block(shape);
  std::vector<LogicalBlock> shards(static_cast<size_t>(tp));
  const int64_t way = draw(random, 0, 2);
  if (way == 0) {
    shards[0] = whole;
  } else if (way == 1) {
    const auto rows = cut(whole.rows, tp, random);
    for (size_t i = 0; i < shards.size(); ++i) shards[i] = {rows[i].first, rows[i].second, 0, whole.columns};
  } else {
    const auto columns = cut(whole.columns, tp, random);
    for (size_t i = 0; i < shards.size(); ++i) shards[i] = {0, whole.rows, columns[i].first, columns[i].second};
  }
  return shards;
}

/// The part of a flat array of shards that lies in [begin, begin + count).
Splitting::Rank flat_range(const std::vector<Segment>& shards, int64_t begin, int64_t count) {
  Splitting::Rank rank;
  rank.elements = count;
  for (const Segment& shard : shards) {
    const int64_t from = std::max(begin, shard.offset);
    const int64_t to = std::min(begin + count, shard.offset + shard.block.elements());
    if (from >= to) continue;
    int64_t offset = from - begin;
    for (const LogicalBlock& block : rectangles_of(shard.block, from - shard.offset, to - from)) {
      rank.segments.push_back({shard.tensor, block, offset});
      offset += block.elements();
    }
  }
  return rank;
}

}  // namespace

Splitting random_splitting(const std::vector<LogicalTensor>& tensors, int pp, int tp, int dp, std::mt19937& random) {
  Splitting splitting;
  for (const auto& [first, count] : cut(std::ssize(tensors), pp, random)) {
    std::vector<std::vector<Segment>> shards(static_cast<size_t>(tp));
    std::vector<int64_t> elements(shards.size());
    for (int64_t tensor = first; tensor < first + count; ++tensor) {
      const auto blocks = shards_of(tensors[static_cast<size_t>(tensor)].shape, tp, random);
      for (size_t i = 0; i < blocks.size(); ++i) {
        elements[i] += draw(random, 0, 3);  // a gap
        shards[i].push_back({static_cast<int32_t>(tensor), blocks[i], elements[i]});
        elements[i] += blocks[i].elements();
      }
    }
    for (size_t i = 0; i < shards.size(); ++i)
      for (const auto& [begin, length] : cut(elements[i], dp, random))
        splitting.ranks.push_back(flat_range(shards[i], begin, length));
  }
  return splitting;
}

uint64_t SplitCheckpoint::bits(StateKind kind, size_t tensor, int64_t place) const {
  uint64_t mixed = (seed * 0x9e3779b97f4a7c15ULL) ^ (static_cast<uint64_t>(place) << 12) ^ (tensor << 4) ^
                   static_cast<uint64_t>(kind);
  mixed = (mixed ^ (mixed >> 31)) * 0xbf58476d1ce4e5b9ULL;
  mixed = (mixed ^ (mixed >> 29)) * 0x94d049bb133111ebULL;
  mixed ^= mixed >> 32;
  if (place % 16 != 5) return dtype == DType::fp32 ? mixed & 0xffffffff : mixed;
  const auto index = static_cast<size_t>(place / 16) % 8;
  constexpr std::array<uint32_t, 8> kSingle{0x7fc12345, 0xffffffff, 0x7f800000, 0xff800000,
                                            0x00000000, 0x80000000, 0x00000001, 0x80000001};
  constexpr std::array<uint64_t, 8> kDouble{0x7ff8000012345678, 0xffffffffffffffff, 0x7ff0000000000000,
                                            0xfff0000000000000, 0x0000000000000000, 0x8000000000000000,
                                            0x0000000000000001, 0x8000000000000001};
  return dtype == DType::fp32 ? kSingle[index] : kDouble[index];
}

std::vector<std::byte> SplitCheckpoint::elements(StateKind kind, const Segment& segment) const {
  const LogicalBlock& block = segment.block;
  const auto tensor = static_cast<size_t>(segment.tensor);
  const int64_t columns = whole_block(tensors[tensor].shape).columns;
  std::vector<std::byte> bytes(static_cast<size_t>(block.elements()) * size_of(dtype));
  std::byte* to = bytes.data();
  for (int64_t row = block.row0; row < block.row0 + block.rows; ++row) {
    for (int64_t column = block.column0; column < block.column0 + block.columns; ++column, to += size_of(dtype)) {
      const uint64_t element = bits(kind, tensor, row * columns + column);
      std::memcpy(to, &element, size_of(dtype));  // the low bytes come first
    }
  }
  return bytes;
}

RankFileHeader SplitCheckpoint::header(int rank, const Splitting::Rank& part) const {
  RankFileHeader header;
  header.run_id = run_id;
  header.step = step;
  header.rank = rank;
  header.dp_rank = rank;
  header.dtype = dtype;
  header.moments = moments;
  header.elements = part.elements;
  header.tensors = tensors;
  header.segments = part.segments;
  return header;
}

std::vector<std::byte> SplitCheckpoint::array_bytes(const Splitting::Rank& part, StateKind kind) const {
  const auto size = static_cast<int64_t>(size_of(dtype));
  std::vector<std::byte> bytes(static_cast<size_t>(part.elements * size), std::byte{0xa5});
  for (const Segment& segment : part.segments) {
    const std::vector<std::byte> values = elements(kind, segment);
    std::copy(values.begin(), values.end(), bytes.begin() + segment.offset * size);
  }
  return bytes;
}

void SplitCheckpoint::add_digests(const Splitting::Rank& part, Manifest& manifest) const {
  for (const Segment& segment : part.segments) {
    const auto tensor = static_cast<size_t>(segment.tensor);
    const int64_t columns = whole_block(tensors[tensor].shape).columns;
    for (int kind = 0; kind < manifest.states(); ++kind)
      manifest.digests[tensor][static_cast<size_t>(kind)] +=
          digest_of(elements(static_cast<StateKind>(kind), segment), dtype, segment.block, columns);
  }
}

Manifest SplitCheckpoint::write(FileSystem& files, const std::filesystem::path& folder,
                                const Splitting& splitting) const {
  Manifest manifest;
  manifest.run_id = run_id;
  manifest.step = step;
  manifest.dtype = dtype;
  manifest.moments = moments;
  manifest.tensors = tensors;
  manifest.digests.resize(tensors.size());
  manifest.layout.dp = static_cast<int>(splitting.ranks.size());
  for (int rank = 0; rank < std::ssize(splitting.ranks); ++rank) {
    const Splitting::Rank& part = splitting.ranks[static_cast<size_t>(rank)];
    StateArrays<std::byte> arrays;
    for (int kind = 0; kind < manifest.states(); ++kind)
      arrays[static_cast<size_t>(kind)] = array_bytes(part, static_cast<StateKind>(kind));
    manifest.rank_files.push_back(write_rank_file(files, folder, header(rank, part), source_of(arrays)));
    add_digests(part, manifest);
  }
  return manifest;
}

std::filesystem::path SplitCheckpoint::save(const std::filesystem::path& folder, const Splitting& splitting) const {
  FileSystem& files = posix_file_system();
  const CheckpointRoot root(folder);
  files.create_directory(folder);
  const std::filesystem::path temporary = root.temporary(step, "test");
  files.create_directory(temporary);
  Manifest manifest = write(files, temporary, splitting);
  return commit_checkpoint(files, root, temporary, manifest, {{"config.resolved.yaml", "run: {seed: 1}\n"}});
}

std::vector<LogicalTensor> small_tensors() {
  return {{"embedding.weight", {13, 7}},
          {"layers.0.norm.weight", {7}},
          {"layers.0.attention.query.weight", {7, 9}},
          {"layers.0.feed_forward.up.weight", {21, 5}},
          {"layers.1.narrow.weight", {11, 1}},
          {"layers.1.flat.weight", {1, 17}},
          {"scalar", {1}},
          {"head.weight", {13, 6}}};
}

}  // namespace trident::testing
