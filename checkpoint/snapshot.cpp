#include "checkpoint/snapshot.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include "checkpoint/snapshot_header.h"
#include "checkpoint/snapshot_segment.h"
#include "core/error.h"

namespace trident {

SnapshotMemory::SnapshotMemory(const std::string& name, const SnapshotIdentity& identity, int64_t bytes, int buffers)
    : SnapshotView(nullptr, {bytes, std::ssize(identity.description), buffers}) {
  TRIDENT_CHECK(bytes >= 0 && bytes <= int64_t{1} << 46 && buffers >= 1 && buffers <= kMostBuffers);
  if (name.empty()) {
    memory_ = map_private(shape_);
  } else {
    map_named(name, identity);
  }
  if (!attached_) write_header(identity);
}

std::byte* SnapshotMemory::map_private(const Shape& shape) {
  constexpr size_t kPage = 4096;
  const size_t mapped = shape.mapped();
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    throw system_error(
        errno, "checkpoint/snapshot",
        fmt::format("no memory for {} snapshots of {:.1f} MiB", shape.buffers,
                    static_cast<double>(shape.bytes) / (1 << 20)),
        fmt::format("snapshots need {} times the optimizer state of a rank in host memory", shape.buffers));
  }
  madvise(memory, mapped, MADV_HUGEPAGE);  // before the first touch; the copy is a third faster
  for (size_t at = 0; at < mapped; at += kPage) static_cast<volatile std::byte*>(memory)[at] = std::byte{0};
  return static_cast<std::byte*>(memory);
}

void SnapshotMemory::map_named(const std::string& name, const SnapshotIdentity& identity) {
  if (const auto segment = SnapshotSegment::attach(name, shape_.mapped()); segment.is_open()) {
    memory_ = segment.map();
    attached_ = is_of(identity);
    if (attached_) return;
    munmap(std::exchange(memory_, nullptr), shape_.mapped());
    SnapshotSegment::remove(name);
  }
  memory_ = SnapshotSegment::create(name, shape_.mapped()).map();
}

std::span<std::byte> SnapshotMemory::begin_fill(int index) {
  std::byte* const memory = buffer(index);
  auto& sequence = header().fills[static_cast<size_t>(index)].sequence;
  // A fill that was cut off has left it odd. An exchange, because no later store of the fill may pass the mark.
  sequence.exchange(sequence.load(std::memory_order_relaxed) | 1U, std::memory_order_seq_cst);
  return {memory, static_cast<size_t>(bytes())};
}

void SnapshotMemory::end_fill(int index, const SnapshotSeal& seal, const BlockHashes& hashes) {
  TRIDENT_CHECK(index >= 0 && index < buffers() && seal.step >= 0 && seal.consumed_samples >= 0);
  const auto table = block_hashes(index);
  TRIDENT_CHECK(hashes.file_bytes == bytes() && hashes.blocks.size() == table.size());
  SnapshotFill& fill = header().fills[static_cast<size_t>(index)];
  const uint64_t filling = fill.sequence.load(std::memory_order_relaxed);
  TRIDENT_CHECK(filling % 2 != 0, "begin_fill() comes first");
  std::copy(hashes.blocks.begin(), hashes.blocks.end(), const_cast<uint64_t*>(table.data()));
  fill.step.store(seal.step, std::memory_order_relaxed);
  fill.consumed_samples.store(seal.consumed_samples, std::memory_order_relaxed);
  fill.gang.store(seal.gang, std::memory_order_relaxed);
  fill.hash.store(hash_of(seal, hashes.blocks), std::memory_order_relaxed);
  fill.sequence.store(filling + 1, std::memory_order_release);
}

void SnapshotMemory::remove(const std::string& name) { SnapshotSegment::remove(name); }

}  // namespace trident
