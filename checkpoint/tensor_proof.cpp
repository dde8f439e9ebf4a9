#include "checkpoint/tensor_proof.h"

#include <algorithm>
#include <set>
#include <utility>

#include "checkpoint/digest.h"
#include "core/error.h"

namespace trident {

TensorProof::TensorProof(const Manifest& manifest)
    : manifest_(manifest),
      by_file_(manifest.rank_files.size()),
      sums_(manifest.tensors.size()),
      lost_(manifest.tensors.size()) {
  for (size_t file = 0; file < by_file_.size(); ++file) {
    for (const Segment& segment : manifest.rank_files[file].segments)
      if (segment.block.elements() > 0) by_file_[file].push_back(&segment);
    std::sort(by_file_[file].begin(), by_file_[file].end(),
              [](const Segment* a, const Segment* b) { return a->offset < b->offset; });
  }
}

std::vector<TensorProof::Part> TensorProof::parts(size_t file, int64_t offset, int64_t count) const {
  const auto size = static_cast<int64_t>(size_of(manifest_.dtype));
  const RankFile& rank_file = manifest_.rank_files[file];
  std::vector<Part> parts;
  for (int kind = 0; kind < manifest_.states(); ++kind) {
    // Elements of the flat array that have bytes in the range; an array begins at a multiple of the element size.
    const int64_t array = rank_file.payload[static_cast<size_t>(kind)];
    const int64_t begin = std::max<int64_t>(0, offset - array) / size;
    const int64_t end = std::min(rank_file.elements, (std::max<int64_t>(0, offset + count - array) + size - 1) / size);
    const auto& segments = by_file_[file];
    auto at = std::partition_point(segments.begin(), segments.end(), [&](const Segment* segment) {
      return segment->offset + segment->block.elements() <= begin;
    });
    for (; at != segments.end() && (*at)->offset < end; ++at) {
      const int64_t first = std::max(begin, (*at)->offset);
      const int64_t last = std::min(end, (*at)->offset + (*at)->block.elements());
      parts.push_back({*at, static_cast<StateKind>(kind), first - (*at)->offset, last - first, array + first * size});
    }
  }
  return parts;
}

void TensorProof::add(size_t file, int64_t offset, std::span<const std::byte> bytes) {
  const size_t size = size_of(manifest_.dtype);
  for (const Part& part : parts(file, offset, std::ssize(bytes))) {
    const auto tensor = static_cast<size_t>(part.segment->tensor);
    const auto values =
        bytes.subspan(static_cast<size_t>(part.offset - offset), static_cast<size_t>(part.count) * size);
    sums_[tensor][static_cast<size_t>(part.kind)] +=
        digest_of(values, manifest_.dtype, part.segment->block, whole_block(manifest_.tensors[tensor].shape).columns,
                  part.first, part.count);
  }
}

void TensorProof::lose(size_t file, int64_t offset, int64_t count) {
  for (const State& state : states_in(file, offset, count))
    lost_[static_cast<size_t>(state.tensor)][static_cast<size_t>(state.kind)] = true;
}

std::vector<TensorProof::State> TensorProof::states_in(size_t file, int64_t offset, int64_t count) const {
  std::vector<State> states;
  std::set<std::pair<int32_t, StateKind>> seen;
  for (const Part& part : parts(file, offset, count))
    if (seen.insert({part.segment->tensor, part.kind}).second) states.push_back({part.segment->tensor, part.kind});
  return states;
}

bool TensorProof::lost(const State& state) const {
  return lost_[static_cast<size_t>(state.tensor)][static_cast<size_t>(state.kind)];
}

uint64_t TensorProof::digest(const State& state) const {
  return sums_[static_cast<size_t>(state.tensor)][static_cast<size_t>(state.kind)];
}

bool TensorProof::holds(const State& state) const {
  return !lost(state) &&
         digest(state) == manifest_.digests[static_cast<size_t>(state.tensor)][static_cast<size_t>(state.kind)];
}

}  // namespace trident
