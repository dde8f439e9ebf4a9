#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/snapshot.h"

namespace trident {

// How one rank's snapshots get into another node's memory: a stream of bounded messages in one direction, in order.
// The first byte of a message says what it is:
//   'B'  a snapshot begins: JSON with its name, identity, seal and sizes; what came of the one before is dropped
//   'P'  its next bytes: description, block hashes, content

/// Reads one snapshot out of a rank's memory while the rank goes on filling others. For one thread.
class SnapshotSender {
 public:
  /// That of `rank` after `step`, whenever it is sealed; its memory is `prefix`.LAYOUT.RANK, and those two name the
  /// copy.
  SnapshotSender(std::string prefix, int rank, int64_t step);

  /// The next message of at most `most` bytes (1 KiB or more); nothing until the snapshot is sealed, and once sent()
  /// or gone().
  [[nodiscard]] std::optional<std::string> next(size_t most);
  /// All of it.
  [[nodiscard]] bool sent() const { return sent_; }
  /// The rank is past it, and it was filled anew before all of it was sent.
  [[nodiscard]] bool gone() const { return gone_; }

 private:
  void find();
  [[nodiscard]] std::string begin();
  [[nodiscard]] bool still_there() const { return view_->seal(buffer_) == seal_; }

  std::string prefix_;
  int rank_;
  int64_t step_;
  std::optional<SnapshotView> view_;  // once it is sealed
  std::string own_part_;              // of its name
  int buffer_ = 0;
  SnapshotSeal seal_{};
  std::string head_;  // description and block hashes
  size_t at_ = 0;     // bytes of head and content sent
  bool sent_ = false;
  bool gone_ = false;
};

/// Names of a rank's own snapshot memory under `prefix`, of whatever layout.
[[nodiscard]] std::vector<std::string> snapshots_of_rank(const std::string& prefix, int rank);

/// Holds the copy of one rank's snapshots, each verified before it is sealed. For one thread, not one that must answer
/// quickly: the first snapshot makes the memory.
class SnapshotReceiver {
 public:
  /// Copies are named `prefix`.LAYOUT.RANK.copy.
  explicit SnapshotReceiver(std::string prefix) : prefix_(std::move(prefix)) {}

  /// Throws Error(bad_data) for what is no such message, and for bytes that are not what was sealed: the snapshot is
  /// dropped, and the next one may be received. Throws Error(io) where shared memory has no room.
  void take(std::string_view message);
  /// Of the snapshot that came last; what is there already need not come again.
  [[nodiscard]] int64_t received_step() const { return received_; }
  /// The copy of this step is not overwritten.
  void keep(int64_t step) { kept_ = step; }
  /// Of what is received; empty before the first snapshot.
  [[nodiscard]] const std::string& name() const { return memory_name_; }

 private:
  struct Incoming {
    std::string name;
    SnapshotIdentity identity;
    SnapshotSeal seal;
    int64_t bytes = 0;
    std::string head;
    size_t head_bytes = 0, description_bytes = 0;
    std::span<std::byte> to;  ///< the buffer, once the head is there
    int buffer = 0;
    int64_t filled = 0;
    BlockHashes hashes;
  };

  void begin(std::string_view json);
  void add(std::string_view bytes);
  void end_head();
  void verify_blocks(int64_t before);
  [[nodiscard]] bool holds(const std::string& name, const SnapshotSeal& seal) const;

  std::string prefix_;
  std::optional<Incoming> incoming_;
  std::string memory_name_;
  std::optional<SnapshotMemory> memory_;
  int64_t received_ = -1;
  int64_t kept_ = -1;
};

/// The end of a copy's name.
inline constexpr std::string_view kSnapshotCopy = ".copy";

}  // namespace trident
