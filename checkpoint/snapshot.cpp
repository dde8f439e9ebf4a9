#include "checkpoint/snapshot.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>

#include "checkpoint/snapshot_segment.h"
#include "core/error.h"

namespace trident {
namespace {

constexpr uint64_t kMagic = 0x50414e53444e5254;  // "TRNDSNAP" in memory
constexpr uint32_t kFormat = 2;
constexpr size_t kPage = 4096;

size_t round_to_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

/// Compared byte for byte with what a segment holds, so that nothing in a foreign header is ever interpreted.
struct Fixed {
  uint32_t format = kFormat;
  int32_t rank = 0;
  int32_t ranks = 0;
  uint32_t zero = 0;
  uint64_t layout_high = 0;
  uint64_t layout_low = 0;
  int64_t bytes = 0;
  std::array<char, 128> run_id{};
};
static_assert(sizeof(Fixed) == 40 + 128, "no padding, whose bytes would be compared too");

Fixed fixed_part(const SnapshotIdentity& identity, int64_t bytes) {
  Fixed fixed;
  TRIDENT_CHECK(identity.run_id.size() < fixed.run_id.size(), identity.run_id);
  fixed.rank = identity.rank;
  fixed.ranks = identity.ranks;
  fixed.layout_high = identity.layout.high;
  fixed.layout_low = identity.layout.low;
  fixed.bytes = bytes;
  identity.run_id.copy(fixed.run_id.data(), identity.run_id.size());
  return fixed;
}

/// Stores of a process that dies are seen by the next one in the order that these atomics impose, as by a thread.
struct Fill {
  std::atomic<uint64_t> sequence;  ///< 0: never filled; odd: being filled
  std::atomic<int64_t> step;
  std::atomic<int64_t> consumed_samples;
  std::atomic<uint64_t> hash;  ///< XXH3-64 of the buffer
};
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free,
              "a lock would be private to the process");

}  // namespace

struct SnapshotMemory::Header {
  std::atomic<uint64_t> magic;  ///< stored last
  Fixed fixed;
  std::array<Fill, kBuffers> fills;
};

SnapshotMemory::SnapshotMemory(const std::string& name, const SnapshotIdentity& identity, int64_t bytes)
    : bytes_(bytes) {
  static_assert(sizeof(Header) <= kPage);
  TRIDENT_CHECK(bytes >= 0 && bytes <= int64_t{1} << 46);
  const Fixed fixed = fixed_part(identity, bytes);
  mapped_ = kPage + kBuffers * round_to_pages(static_cast<size_t>(bytes));
  if (name.empty()) {
    map_private();
  } else {
    map_named(name, identity);
  }
  if (attached_) return;
  header().fixed = fixed;
  header().magic.store(kMagic, std::memory_order_release);
}

SnapshotMemory::~SnapshotMemory() { munmap(memory_, mapped_); }

void SnapshotMemory::map_private() {
  void* memory = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    throw system_error(
        errno, "checkpoint/snapshot",
        fmt::format("no memory for two snapshots of {:.1f} MiB", static_cast<double>(bytes_) / (1 << 20)),
        "snapshots need twice the optimizer state of a rank in host memory");
  }
  memory_ = static_cast<std::byte*>(memory);
  madvise(memory, mapped_, MADV_HUGEPAGE);  // before the first touch; the copy is a third faster
  for (size_t at = 0; at < mapped_; at += kPage) static_cast<volatile std::byte*>(memory_)[at] = std::byte{0};
}

void SnapshotMemory::map_named(const std::string& name, const SnapshotIdentity& identity) {
  if (const auto segment = SnapshotSegment::attach(name, mapped_); segment.is_open()) {
    memory_ = segment.map();
    const Fixed expected = fixed_part(identity, bytes_);
    attached_ = header().magic.load(std::memory_order_acquire) == kMagic &&
                std::memcmp(&header().fixed, &expected, sizeof(expected)) == 0;
    if (attached_) return;
    munmap(memory_, mapped_);
    SnapshotSegment::remove(name);
  }
  memory_ = SnapshotSegment::create(name, mapped_).map();
}

SnapshotMemory::Header& SnapshotMemory::header() const {
  // Nothing constructs it: what an earlier process left must stay, and zero pages are what its constructor would make.
  return *std::launder(reinterpret_cast<Header*>(memory_));
}

std::byte* SnapshotMemory::buffer(int index) const {
  TRIDENT_CHECK(index >= 0 && index < kBuffers);
  return memory_ + kPage + static_cast<size_t>(index) * round_to_pages(static_cast<size_t>(bytes_));
}

std::optional<int64_t> SnapshotMemory::step(int index) const {
  TRIDENT_CHECK(index >= 0 && index < kBuffers);
  const Fill& fill = header().fills[static_cast<size_t>(index)];
  const uint64_t before = fill.sequence.load(std::memory_order_acquire);
  const int64_t step = fill.step.load(std::memory_order_acquire);
  if (before == 0 || before % 2 != 0 || step < 0) return std::nullopt;
  if (fill.sequence.load(std::memory_order_relaxed) != before) return std::nullopt;
  return step;
}

bool SnapshotMemory::intact(int index) const {
  TRIDENT_CHECK(step(index).has_value());
  return hash_block(content(index)) == header().fills[static_cast<size_t>(index)].hash.load(std::memory_order_relaxed);
}

int64_t SnapshotMemory::consumed_samples(int index) const {
  TRIDENT_CHECK(step(index).has_value());
  return header().fills[static_cast<size_t>(index)].consumed_samples.load(std::memory_order_relaxed);
}

std::span<const std::byte> SnapshotMemory::content(int index) const {
  return {buffer(index), static_cast<size_t>(bytes_)};
}

std::span<std::byte> SnapshotMemory::begin_fill(int index) {
  std::byte* const memory = buffer(index);
  auto& sequence = header().fills[static_cast<size_t>(index)].sequence;
  // A fill that was cut off has left it odd. An exchange, because no later store of the fill may pass the mark.
  sequence.exchange(sequence.load(std::memory_order_relaxed) | 1U, std::memory_order_seq_cst);
  return {memory, static_cast<size_t>(bytes_)};
}

void SnapshotMemory::end_fill(int index, int64_t step, int64_t consumed_samples) {
  TRIDENT_CHECK(index >= 0 && index < kBuffers && step >= 0 && consumed_samples >= 0);
  Fill& fill = header().fills[static_cast<size_t>(index)];
  const uint64_t filling = fill.sequence.load(std::memory_order_relaxed);
  TRIDENT_CHECK(filling % 2 != 0, "begin_fill() comes first");
  fill.step.store(step, std::memory_order_relaxed);
  fill.consumed_samples.store(consumed_samples, std::memory_order_relaxed);
  fill.hash.store(hash_block(content(index)), std::memory_order_relaxed);
  fill.sequence.store(filling + 1, std::memory_order_release);
}

void SnapshotMemory::clear(int index) {
  TRIDENT_CHECK(index >= 0 && index < kBuffers);
  header().fills[static_cast<size_t>(index)].sequence.store(0, std::memory_order_release);
}

void SnapshotMemory::clear() {
  for (int i = 0; i < kBuffers; ++i) clear(i);
}

void SnapshotMemory::remove(const std::string& name) { SnapshotSegment::remove(name); }

}  // namespace trident
