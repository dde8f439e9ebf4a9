#include "parallel/comm/shared_operation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "parallel/comm/reduce.h"

namespace trident {
namespace {

void copy_bytes(std::byte* to, const std::byte* from, int64_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, static_cast<size_t>(bytes));
}

uint64_t segment_of(uint64_t address) { return address >> 48; }

/// pointer(rank) of every rank.
template <class Pointer>
auto all_ranks(int ranks, const Pointer& pointer) {
  std::vector<decltype(pointer(0))> pointers(static_cast<size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) pointers[static_cast<size_t>(rank)] = pointer(rank);
  return pointers;
}

}  // namespace

SharedOperation::SharedOperation(SharedGroup& group, CollectiveCall call)
    : group_(group),
      call_(std::move(call)),
      size_(static_cast<int64_t>(call_.element_size())),
      chunk_elements_(static_cast<int64_t>(group.memory_.chunk_bytes) / size_),
      first_chunk_(group.next_chunk_),
      number_(group.started_++) {
  if (has_parts()) chunk_elements_ /= group_.size_;
  publish();
}

bool SharedOperation::has_parts() const {
  return call_.signature.op == CollectiveOp::reduce_scatter || call_.signature.op == CollectiveOp::all_to_all;
}

bool SharedOperation::results_are_staged() const {
  return call_.signature.op == CollectiveOp::all_reduce && way_ == Way::staged;
}

bool SharedOperation::gives() const {
  return call_.signature.op != CollectiveOp::broadcast || call_.signature.root == group_.rank_;
}

int64_t SharedOperation::sent_bytes() const {
  return call_.count * size_ * (call_.signature.op == CollectiveOp::reduce_scatter ? group_.size_ : 1);
}

// Arrives: shows the buffer to the others, or its first chunk where they cannot reach it.
void SharedOperation::publish() {
  const CollectiveOp op = call_.signature.op;
  if (op == CollectiveOp::all_to_all) {
    std::atomic<int64_t>* table = group_.counts(group_.rank_, number_);
    int64_t offset = 0;
    for (int to = 0; to < group_.size_; ++to) {
      const int64_t count = call_.send_counts[static_cast<size_t>(to)];
      table[2 * to].store(offset, std::memory_order_relaxed);
      table[2 * to + 1].store(count, std::memory_order_relaxed);
      offset += count;
    }
  }
  const bool small = op != CollectiveOp::all_to_all && static_cast<size_t>(sent_bytes()) <= SharedGroup::kInlineBytes;
  const uint64_t address = small || op == CollectiveOp::barrier
                               ? AddressSpace::kPrivate
                               : group_.memory_.space->publish(
                                     call_.in, op == CollectiveOp::all_to_all ? 0 : static_cast<size_t>(sent_bytes()));
  group_.slot(group_.rank_).address[number_ % 2].store(address, std::memory_order_relaxed);
  if (small) way_ = Way::whole;
  if (address == AddressSpace::kPrivate && op != CollectiveOp::barrier) {
    copy_in(0);
    came_in_ = true;
  }
  ticket_ = group_.signal();
}

bool SharedOperation::advance() {
  while (group_.everyone_reached(ticket_)) {
    if (!arrived_) {
      arrived_ = true;
      group_.compare_calls(call_.sequence);
      plan();
    }
    if (step_ < end_) work(step_++);
    // After the last step only a direct operation waits, until the others have let go of the buffers.
    if (step_ == end_ && way_ != Way::direct) {
      call_.read_arrivals();
      return true;
    }
    if (step_ > end_) return true;
    if (step_ == end_) ++step_;
    ticket_ = group_.signal();
  }
  // Once all have arrived nobody waits for anything but work, and buffers may be in use: only the deadline counts.
  if (!arrived_) group_.throw_if_given_up();
  return false;
}

std::string SharedOperation::waiting_for() const { return group_.missing(ticket_, call_.sequence); }

int64_t SharedOperation::longest_part() const {
  if (call_.signature.op != CollectiveOp::all_to_all) return call_.count;
  int64_t longest = 0;
  for (int from = 0; from < group_.size_; ++from) {
    for (int to = 0; to < group_.size_; ++to) {
      longest = std::max(longest, group_.counts(from, number_)[2 * to + 1].load(std::memory_order_relaxed));
    }
  }
  return longest;
}

// Every rank comes to the same answer, for it looks at what all have published.
SharedOperation::Way SharedOperation::agreed_way(bool& all_came_in) const {
  bool direct = true;
  uint64_t segment = 0;
  all_came_in = true;
  for (int rank = 0; rank < group_.size_; ++rank) {
    if (call_.signature.op == CollectiveOp::broadcast && rank != call_.signature.root) continue;
    const uint64_t address = group_.slot(rank).address[number_ % 2].load(std::memory_order_relaxed);
    if (address != AddressSpace::kPrivate) all_came_in = false;
    if (address == AddressSpace::kPrivate || (segment != 0 && segment_of(address) != segment)) direct = false;
    segment = segment_of(address);
  }
  return direct ? Way::direct : Way::staged;
}

void SharedOperation::plan() {
  const int64_t longest = longest_part();
  if (call_.signature.op == CollectiveOp::all_to_all) {
    for (int from = 0; from < group_.size_; ++from) {
      const int64_t sent = part_from(from).count;
      const int64_t expected = call_.recv_counts[static_cast<size_t>(from)];
      if (sent == expected) continue;
      throw Error(ErrorCode::internal, "parallel/comm",
                  fmt::format("group {}: all_to_all #{}: {} sends {} elements, expected {}", group_.group_,
                              call_.sequence, group_.names_[static_cast<size_t>(from)], sent, expected));
    }
  }
  if (longest == 0 || call_.signature.op == CollectiveOp::barrier) {
    way_ = Way::none;
    return;
  }
  bool all_came_in = true;
  if (way_ != Way::whole) way_ = agreed_way(all_came_in);
  if (way_ == Way::direct) {
    end_ = 1;
    return;
  }
  chunks_ = (longest + chunk_elements_ - 1) / chunk_elements_;
  group_.next_chunk_ += static_cast<uint64_t>(chunks_);
  // Step s takes chunk s in, works on chunk s-1 and, for all_reduce, takes chunk s-2 out.
  step_ = all_came_in ? 1 : 0;
  end_ = chunks_ + (results_are_staged() ? 2 : 1);
}

void SharedOperation::work(int64_t step) {
  if (way_ == Way::direct) {
    consume(0);
    return;
  }
  if (step < chunks_ && !(step == 0 && came_in_)) copy_in(step);
  if (step >= 1 && step - 1 < chunks_) consume(step - 1);
  if (step >= 2 && results_are_staged()) copy_out(step - 2);
}

SharedOperation::Range SharedOperation::chunk(int64_t index) const {
  return {index * chunk_elements_, chunk_elements_};
}

// Slices start on cache lines, so that no two ranks write to one.
SharedOperation::Range SharedOperation::slice(int rank, int64_t count) const {
  const int64_t line = 64 / size_;
  const int64_t lines = (count + line - 1) / line;
  const auto bound = [&](int r) { return std::min(count, lines * r / group_.size_ * line); };
  return {bound(rank), bound(rank + 1) - bound(rank)};
}

std::byte* SharedOperation::stage(int rank, int64_t index) const {
  return group_.stage(rank, first_chunk_ + static_cast<uint64_t>(index));
}

void SharedOperation::copy_in(int64_t index) {
  if (!gives()) return;
  const Range range = chunk(index);
  std::byte* to = stage(group_.rank_, index);
  int64_t offset = 0;
  for (int part = 0; part < (has_parts() ? group_.size_ : 1); ++part) {
    const int64_t whole =
        call_.signature.op == CollectiveOp::all_to_all ? call_.send_counts[static_cast<size_t>(part)] : call_.count;
    const int64_t count = std::min(range.count, whole - range.begin);
    copy_bytes(to + part * chunk_elements_ * size_, call_.in + (offset + range.begin) * size_, count * size_);
    offset += whole;
  }
}

std::byte* SharedOperation::peer_buffer(int peer) const {
  if (peer == group_.rank_) return const_cast<std::byte*>(call_.in);
  const uint64_t address = group_.slot(peer).address[number_ % 2].load(std::memory_order_relaxed);
  return group_.memory_.space->resolve(address, peer);
}

SharedOperation::Range SharedOperation::part_from(int peer) const {
  if (call_.signature.op != CollectiveOp::all_to_all) {
    return {call_.signature.op == CollectiveOp::reduce_scatter ? group_.rank_ * call_.count : 0, call_.count};
  }
  const std::atomic<int64_t>* table = group_.counts(peer, number_);
  return {table[2 * group_.rank_].load(std::memory_order_relaxed),
          table[2 * group_.rank_ + 1].load(std::memory_order_relaxed)};
}

std::byte* SharedOperation::given(int peer, int64_t index, Range range) const {
  if (way_ == Way::direct) return peer_buffer(peer) + (part_from(peer).begin + range.begin) * size_;
  return stage(peer, index) + (has_parts() ? group_.rank_ * chunk_elements_ * size_ : 0);
}

void SharedOperation::consume(int64_t index) {
  Range range = way_ == Way::direct ? Range{0, longest_part()} : chunk(index);
  if (call_.signature.op != CollectiveOp::all_reduce) return exchange(index, range);
  range.count = std::min(range.count, call_.count - range.begin);
  if (way_ == Way::whole) return reduce_everything();
  if (way_ == Way::direct) return reduce_slice_in_place();
  reduce_slice_of_stage(index, range);
}

// All but all_reduce: this rank's output from what every rank gives to it.
void SharedOperation::exchange(int64_t index, Range range) {
  if (call_.signature.op == CollectiveOp::broadcast) {
    const int64_t count = std::min(range.count, call_.count - range.begin);
    if (!gives()) copy_bytes(call_.out + range.begin * size_, given(call_.signature.root, index, range), count * size_);
    return;
  }
  if (call_.signature.op == CollectiveOp::reduce_scatter) {
    const auto sources =
        all_ranks(group_.size_, [&](int peer) -> const std::byte* { return given(peer, index, range); });
    std::byte* const out[] = {call_.out + range.begin * size_};
    reduce_in_order(call_.signature.reduce, call_.signature.element, sources,
                    std::min(range.count, call_.count - range.begin), out);
    return;
  }
  if (way_ == Way::direct && call_.read) {
    call_.read(all_ranks(group_.size_, [&](int peer) -> const std::byte* { return given(peer, index, range); }));
    return;
  }
  int64_t offset = 0;
  for (int peer = 0; peer < group_.size_; ++peer) {
    const int64_t whole = part_from(peer).count;
    const int64_t count = std::min(range.count, whole - range.begin);
    // What is this rank's own already lies in place where `in` is a part of `out`: others may be reading it there.
    const std::byte* from =
        peer == group_.rank_ ? call_.in + (part_from(peer).begin + range.begin) * size_ : given(peer, index, range);
    copy_bytes(call_.out + (offset + range.begin) * size_, from, count * size_);
    offset += whole;
  }
}

void SharedOperation::reduce_everything() {
  const auto sources = all_ranks(group_.size_, [&](int peer) -> const std::byte* { return stage(peer, 0); });
  std::byte* const out[] = {call_.out};
  reduce_in_order(call_.signature.reduce, call_.signature.element, sources, call_.count, out);
}

void SharedOperation::reduce_slice_in_place() {
  const Range mine = slice(group_.rank_, call_.count);
  const std::vector<std::byte*> buffers =
      all_ranks(group_.size_, [&](int peer) { return peer_buffer(peer) + mine.begin * size_; });
  const std::vector<const std::byte*> sources(buffers.begin(), buffers.end());
  reduce_in_order(call_.signature.reduce, call_.signature.element, sources, mine.count, buffers);
}

void SharedOperation::reduce_slice_of_stage(int64_t index, Range range) {
  const Range mine = slice(group_.rank_, range.count);
  const auto sources =
      all_ranks(group_.size_, [&](int peer) -> const std::byte* { return stage(peer, index) + mine.begin * size_; });
  std::byte* const out[] = {stage(group_.rank_, index) + mine.begin * size_};
  reduce_in_order(call_.signature.reduce, call_.signature.element, sources, mine.count, out);
}

void SharedOperation::copy_out(int64_t index) {
  const Range range = chunk(index);
  const int64_t count = std::min(range.count, call_.count - range.begin);
  for (int owner = 0; owner < group_.size_; ++owner) {
    const Range part = slice(owner, count);
    copy_bytes(call_.out + (range.begin + part.begin) * size_, stage(owner, index) + part.begin * size_,
               part.count * size_);
  }
}

}  // namespace trident
