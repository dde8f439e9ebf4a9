#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace trident {

/// Hands out uninitialised tensors on one device. The memory goes back when the last tensor on it is gone.
class Allocator {
 public:
  virtual ~Allocator() = default;
  [[nodiscard]] virtual Tensor allocate(Shape shape, DType dtype) = 0;
};

/// Every tensor its own piece of the process's heap, 64-byte aligned, or of a GPU's memory; or no memory at all on the
/// meta device.
class HeapAllocator final : public Allocator {
 public:
  explicit HeapAllocator(Device device = Device::cpu()) : device_(device) {}
  [[nodiscard]] Tensor allocate(Shape shape, DType dtype) override;

 private:
  Device device_;
};

enum class Pages {
  huge,   ///< where the operating system offers them
  small,  ///< for memory of which little may ever be touched
};

/// Memory of `bytes` from the operating system, zeroed. Throws Error(ErrorCode::config) with the size when there is not
/// enough.
[[nodiscard]] std::shared_ptr<Buffer> map_memory(size_t bytes, Pages pages = Pages::huge);

/// Bytes of the tensor whose pages the operating system holds in memory; all of them on a GPU, 0 on the meta device.
/// Memory that was mapped but never touched is not there.
[[nodiscard]] size_t resident_bytes(const Tensor& tensor);

/// Where each allocation of a program lies, worked out from their lifetimes before any memory exists. A program is the
/// same sequence of allocations and releases each time it runs: one microbatch's forward and backward, or a whole step.
struct ArenaPlan {
  struct Block {
    size_t bytes = 0;   ///< rounded up to kAlignment
    int64_t birth = 0;  ///< position in the program's sequence of allocations and releases
    int64_t death = 0;  ///< INT64_MAX if it outlives the program
    size_t offset = 0;
  };
  static constexpr size_t kAlignment = 256;

  std::vector<Block> blocks;  ///< in order of allocation
  size_t total_bytes = 0;     ///< memory that the program needs

  /// Largest sum of blocks alive at once: no plan can need less.
  [[nodiscard]] size_t lower_bound() const;
};

/// Gives offsets to `blocks`, which are in order of birth, so that no two that live at the same time overlap. Greedy,
/// largest first, at the lowest offset that is free (Pisarchyk and Lee, "Efficient memory management for deep neural
/// net inference", 2020, sec. 5.1). So segments of the program that are equal, with nothing alive in between, get equal
/// offsets. Time grows with the blocks times the offsets in use: about linear where a program repeats itself.
[[nodiscard]] ArenaPlan plan_arena(std::vector<ArenaPlan::Block> blocks);

/// Records a program on the meta device.
class ArenaRecorder final : public Allocator {
 public:
  ArenaRecorder();
  [[nodiscard]] Tensor allocate(Shape shape, DType dtype) override;
  [[nodiscard]] ArenaPlan plan() const;

 private:
  struct Log {
    std::vector<ArenaPlan::Block> blocks;
    int64_t clock = 0;
  };
  std::shared_ptr<Log> log_;  // shared with the tensors, which may outlive the recorder
};

/// Replays a planned program in one piece of memory: allocation costs no search and the peak is the plan's.
class Arena final : public Allocator {
 public:
  /// Needs memory of at least plan.total_bytes; arenas that never run at the same time may share it.
  Arena(ArenaPlan plan, std::shared_ptr<Buffer> memory);

  /// Starts the program again. Every tensor of the previous run must be gone.
  void rewind();
  [[nodiscard]] const std::shared_ptr<Buffer>& memory() const { return memory_; }

  /// The next allocation of the plan; throws Error(ErrorCode::internal) if it is not the one that was planned.
  [[nodiscard]] Tensor allocate(Shape shape, DType dtype) override;

 private:
  ArenaPlan plan_;
  std::shared_ptr<Buffer> memory_;
  std::shared_ptr<int64_t> live_;
  size_t next_ = 0;
};

}  // namespace trident
