#include "train/saved_state.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_map>
#include <utility>

#include "checkpoint/digest.h"
#include "core/error.h"
#include "core/memory.h"

namespace trident {
namespace {

// What is digested and then hashed and written: half of a small second-level cache.
constexpr int64_t kCachedBytes = int64_t{512} << 10;

constexpr StateKind kKinds[kStateKinds] = {StateKind::master, StateKind::exp_avg, StateKind::exp_avg_sq};

size_t index_of(StateKind kind) { return static_cast<size_t>(kind); }

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()};
}

std::vector<PartialDigest> listed(const DigestSums& sums) {
  std::vector<PartialDigest> digests;
  digests.reserve(sums.size());
  for (const auto& [key, digest] : sums) digests.push_back({key.first, key.second, digest});
  return digests;
}

template <class T>
void read_rectangles(RectangleReader& saved, StateKind kind, int tensor, const std::vector<LogicalBlock>& blocks,
                     std::span<T> out) {
  for (const LogicalBlock& block : blocks) {
    const auto count = static_cast<size_t>(block.elements());
    saved.read(kind, tensor, block, out.first(count));
    out = out.subspan(count);
  }
}

}  // namespace

std::vector<LogicalTensor> logical_tensors(const ModelConfig& config) {
  std::vector<LogicalTensor> tensors;
  for (const Parameter& parameter : describe_parameters(config)) {
    if (!parameter.tied_copy) tensors.push_back({parameter.name, parameter.global_shape});
  }
  return tensors;
}

const Tensor& SavedState::Held::state(StateKind kind) const {
  switch (kind) {
    case StateKind::master: return piece.master;
    case StateKind::exp_avg: return piece.exp_avg;
    case StateKind::exp_avg_sq: return piece.exp_avg_sq;
  }
  return piece.master;
}

SavedState::SavedState(const Engine& engine)
    : stream_(engine.stream()), tensors_(logical_tensors(engine.model().config())) {
  std::unordered_map<std::string, int32_t> numbers;
  for (size_t i = 0; i < tensors_.size(); ++i) numbers[tensors_[i].name] = static_cast<int32_t>(i);
  const MeshCoordinates& at = engine.mesh().coordinates();
  const int dp = engine.mesh().shape().dp;
  const bool replicated = engine.options().layout.zero_stage == ZeroStage::replicated && dp > 1;
  for (OwnedPiece& piece : engine.pieces()) {
    const Parameter& parameter = *piece.parameter;
    const int copy = copy_number(parameter, engine.model().tensor_parallel());
    Held held;
    held.tensor = numbers.at(parameter.name);
    held.saved = copy == 0 && piece.reduced_here;
    // With ZeRO 0 every data-parallel rank has a copy of its own.
    held.copy = replicated ? 1 + (copy + 1) * dp + at.dp : copy < 0 ? 1 : copy == 0 ? 0 : 1 + copy;
    held.part = block_of(parameter);
    held.columns = whole_block(parameter.global_shape).columns;
    held.piece = std::move(piece);
    held_.push_back(std::move(held));
  }
  dtype_ = engine.model().storage().grads().dtype();
  place_pieces();
}

void SavedState::place_pieces() {
  std::stable_sort(held_.begin(), held_.end(), [](const Held& a, const Held& b) { return a.saved > b.saved; });
  for (Held& held : held_) {
    held.offset = elements_;
    elements_ += held.piece.count;
    if (held.saved) saved_elements_ += held.piece.count, ++saved_pieces_;
  }
}

std::vector<Segment> SavedState::segments() const {
  std::vector<Segment> segments;
  for (const Held& held : held_) {
    if (!held.saved) continue;
    int64_t offset = held.offset;
    for (const LogicalBlock& block : rectangles_of(held.part, held.piece.begin, held.piece.count)) {
      segments.push_back({held.tensor, block, offset});
      offset += block.elements();
    }
  }
  return segments;
}

Hash128 SavedState::layout_hash() const {
  std::vector<int64_t> words{static_cast<int64_t>(dtype_), elements_, saved_elements_};
  for (const LogicalTensor& tensor : tensors_) {
    for (int dim = 0; dim < tensor.shape.rank(); ++dim) words.push_back(tensor.shape[dim]);
    const Hash128 name = hash_bytes(tensor.name);
    words.push_back(static_cast<int64_t>(name.low));
  }
  for (const Held& held : held_) {
    const LogicalBlock& part = held.part;
    for (const int64_t word : {int64_t{held.tensor}, int64_t{held.copy}, int64_t{held.saved}, held.piece.begin,
                               held.piece.count, part.row0, part.rows, part.column0, part.columns})
      words.push_back(word);
  }
  return hash_bytes(std::as_bytes(std::span(words)));
}

std::vector<CopyPiece> SavedState::copies() const {
  std::vector<CopyPiece> copies;
  const auto size = static_cast<int64_t>(size_of(dtype_));
  for (const StateKind kind : kKinds) {
    for (const Held& held : held_) {
      const auto bytes = bytes_of(held.state(kind));
      copies.push_back(
          {bytes.data(), std::ssize(bytes), static_cast<int64_t>(index_of(kind)) * array_bytes() + held.offset * size});
    }
  }
  return copies;
}

bool SavedState::equals(std::span<const std::byte> snapshot) const {
  TRIDENT_CHECK(std::ssize(snapshot) == snapshot_bytes());
  for (const StateKind kind : kKinds) {
    for (const Held& held : held_) {
      const Tensor live = to_host(stream_, held.state(kind));
      const auto copied = in_snapshot(snapshot, held, kind);
      if (std::memcmp(live.raw(), copied.data(), copied.size()) != 0) return false;
    }
  }
  return true;
}

std::span<const std::byte> SavedState::in_snapshot(std::span<const std::byte> snapshot, const Held& held,
                                                   StateKind kind) const {
  const size_t size = size_of(dtype_);
  return snapshot.subspan(index_of(kind) * static_cast<size_t>(array_bytes()) + static_cast<size_t>(held.offset) * size,
                          static_cast<size_t>(held.piece.count) * size);
}

void SavedState::add_digest(const Held& held, StateKind kind, int64_t begin, std::span<const std::byte> bytes,
                            DigestSums& sums) const {
  const auto count = std::ssize(bytes) / static_cast<int64_t>(size_of(dtype_));
  const uint64_t digest = digest_of(bytes, dtype_, held.part, held.columns, held.piece.begin + begin, count);
  if (held.saved) sums[{held.tensor, 0}][index_of(kind)] += digest;
  if (held.copy != 0) sums[{held.tensor, held.copy}][index_of(kind)] += digest;
}

StateSource SavedState::source(std::span<const std::byte> snapshot, DigestSums& sums) const {
  return [this, snapshot, &sums](StateKind kind, int64_t begin, int64_t count) {
    const auto size = static_cast<int64_t>(size_of(dtype_));
    const int64_t first = begin / size, end = (begin + std::min(count, kCachedBytes)) / size;
    const auto saved_end = held_.begin() + saved_pieces_;
    auto held = std::upper_bound(held_.begin(), saved_end, first,
                                 [](int64_t element, const Held& other) { return element < other.offset; });
    for (--held; held != saved_end && held->offset < end; ++held) {
      const int64_t from = std::max(first, held->offset), to = std::min(end, held->offset + held->piece.count);
      const auto bytes = in_snapshot(snapshot, *held, kind);
      add_digest(*held, kind, from - held->offset,
                 bytes.subspan(static_cast<size_t>((from - held->offset) * size),
                               static_cast<size_t>(std::max<int64_t>(0, to - from) * size)),
                 sums);
    }
    return snapshot.subspan(static_cast<size_t>(static_cast<int64_t>(index_of(kind)) * array_bytes() + first * size),
                            static_cast<size_t>((end - first) * size));
  };
}

std::vector<PartialDigest> SavedState::digests(std::span<const std::byte> snapshot, DigestSums sums) const {
  for (const Held& held : std::span(held_).subspan(static_cast<size_t>(saved_pieces_))) {
    for (const StateKind kind : kKinds) add_digest(held, kind, 0, in_snapshot(snapshot, held, kind), sums);
  }
  return listed(sums);
}

std::vector<const SavedState::Held*> SavedState::in_load_order() const {
  std::vector<const Held*> order;
  order.reserve(held_.size());
  for (const Held& held : held_) order.push_back(&held);
  std::stable_sort(order.begin(), order.end(), [](const Held* a, const Held* b) { return a->tensor < b->tensor; });
  return order;
}

void SavedState::for_each_rectangle(
    const std::function<void(StateKind kind, int tensor, const LogicalBlock& block)>& visit) const {
  for (const StateKind kind : kKinds) {
    for (const Held* held : in_load_order()) {
      for (const LogicalBlock& block : rectangles_of(held->part, held->piece.begin, held->piece.count))
        visit(kind, held->tensor, block);
    }
  }
}

std::vector<PartialDigest> SavedState::load(RectangleReader& saved) const {
  const auto fill = [&](const Held& held, StateKind kind) {
    Tensor target = held.state(kind);
    if (static_cast<int>(kind) >= saved.manifest().states()) {
      return set_zero(stream_, target);
    }
    const auto blocks = rectangles_of(held.part, held.piece.begin, held.piece.count);
    const auto count = static_cast<size_t>(held.piece.count);
    const int number = saved.find(tensors_[static_cast<size_t>(held.tensor)].name);
    write_from_host(stream_, target, [&](Tensor& host) {
      if (dtype_ == DType::fp64)
        read_rectangles(saved, kind, number, blocks, std::span(host.data<double>(), count));
      else
        read_rectangles(saved, kind, number, blocks, std::span(host.data<float>(), count));
    });
  };
  for (const StateKind kind : kKinds) {
    for (const Held* held : in_load_order()) fill(*held, kind);
  }
  DigestSums sums;
  for (const Held& held : held_) {
    for (const StateKind kind : kKinds) add_digest(held, kind, 0, bytes_of(to_host(stream_, held.state(kind))), sums);
  }
  return listed(sums);
}

}  // namespace trident
