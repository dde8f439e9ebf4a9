#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_problem.h"
#include "checkpoint/file_hash.h"

namespace trident {

/// Whose snapshots a memory holds. All of it must agree before a rank goes on filling it.
struct SnapshotIdentity {
  std::string run_id;  ///< at most 127 bytes
  int rank = 0;
  int ranks = 1;
  Hash128 layout{};           ///< of everything that decides what lies where in the buffers
  std::string description{};  ///< the same for readers: a manifest whose only rank file is a buffer
};

/// What a whole buffer is of.
struct SnapshotSeal {
  int64_t step = 0;
  int64_t consumed_samples = 0;
  uint64_t gang = 0;  ///< the start of the job that filled it: parts of one state are of one gang
  bool operator==(const SnapshotSeal&) const = default;
};

/// Snapshots of one rank in mapped memory: a header, the description, and buffers, each with its content and the hashes
/// of its 4 MiB blocks (docs/checkpoint-format.md). Another process may fill them meanwhile.
class SnapshotView {
 public:
  static constexpr int kMostBuffers = 4;
  static constexpr int kMostKept = 2;

  /// Memory of that name, where it is there, is this user's, closed to all others, and its header is sound.
  [[nodiscard]] static std::optional<SnapshotView> open(const std::string& name);

  SnapshotView(SnapshotView&& other) noexcept;
  SnapshotView& operator=(SnapshotView&& other) noexcept;
  ~SnapshotView();

  [[nodiscard]] SnapshotIdentity identity() const;
  /// The size of each buffer's content.
  [[nodiscard]] int64_t bytes() const { return shape_.bytes; }
  [[nodiscard]] int buffers() const { return shape_.buffers; }

  /// Nothing while the buffer is being filled and after a fill that was cut off.
  [[nodiscard]] std::optional<SnapshotSeal> seal(int index) const;
  [[nodiscard]] std::optional<int64_t> step(int index) const;
  [[nodiscard]] std::span<const std::byte> content(int index) const;
  /// Of the content's blocks, as they were when it was sealed.
  [[nodiscard]] std::span<const uint64_t> block_hashes(int index) const;
  /// Reads the whole content: what is not as it was sealed, with the number of the block.
  [[nodiscard]] std::optional<CheckpointProblem> problem_with(int index) const;

  /// Empties buffers whose step is later: training goes on from `step`, and they are of a past that it does not share.
  void clear_after(int64_t step);
  /// Gives the system back all buffers but that of `step`; whether there is one.
  bool release_but(int64_t step);
  /// Asks whoever fills to leave the snapshots of these steps alone while others serve as well, the first before the
  /// second; -1: none. It may be asked before they are there.
  void keep(const std::array<int64_t, kMostKept>& steps);
  [[nodiscard]] std::array<int64_t, kMostKept> kept() const;

  /// Whether the memory's header and description are these.
  [[nodiscard]] bool is_of(const SnapshotIdentity& identity) const;

 protected:
  struct Shape {
    int64_t bytes = 0;
    int64_t description_bytes = 0;
    int buffers = 0;
    [[nodiscard]] size_t buffer_begin(int index) const;
    [[nodiscard]] size_t mapped() const { return buffer_begin(buffers); }
  };
  struct Header;

  SnapshotView(std::byte* memory, const Shape& shape) : memory_(memory), shape_(shape) {}
  [[nodiscard]] Header& header() const;
  [[nodiscard]] std::byte* buffer(int index) const;
  /// Writes all but the buffers into zeroed memory.
  void write_header(const SnapshotIdentity& identity);
  [[nodiscard]] static uint64_t hash_of(const SnapshotSeal& seal, std::span<const uint64_t> block_hashes);

  std::byte* memory_ = nullptr;
  Shape shape_;
};

/// Names of shared memory that begin like this, sorted; without the leading slash that opens them.
[[nodiscard]] std::vector<std::string> shared_memory_names(const std::string& prefix);

}  // namespace trident
