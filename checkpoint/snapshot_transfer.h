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

/// Reads the newest snapshot out of a rank's memory while the rank goes on filling it. For one thread.
class SnapshotSender {
 public:
  /// `name` of the rank's memory; its last two parts, layout and rank, name the copy.
  explicit SnapshotSender(std::string name) : name_(std::move(name)) {}
  ~SnapshotSender();
  SnapshotSender(const SnapshotSender&) = delete;
  SnapshotSender& operator=(const SnapshotSender&) = delete;

  /// The next message of at most `most` bytes (1 KiB or more); nothing while there is no snapshot newer than the last
  /// sent. A snapshot that is filled anew meanwhile is dropped for a newer one.
  [[nodiscard]] std::optional<std::string> next(size_t most);
  /// Of the last snapshot that was sent whole.
  [[nodiscard]] int64_t sent_step() const { return sent_.step; }

 private:
  [[nodiscard]] std::optional<std::string> begin();
  [[nodiscard]] bool still_there() const;
  void finish();

  std::string name_;
  std::optional<SnapshotView> view_;
  int buffer_ = -1;  // being sent; -1: none
  SnapshotSeal seal_{}, sent_{.step = -1};
  std::string head_;  // description and block hashes
  size_t at_ = 0;     // bytes of head and content sent
};

/// Holds the copy of one rank's snapshots, each verified before it is sealed. For one thread, not one that must answer
/// quickly: the first snapshot makes the memory.
class SnapshotReceiver {
 public:
  /// Copies are named `prefix`.LAYOUT.RANK.copy.
  explicit SnapshotReceiver(std::string prefix) : prefix_(std::move(prefix)) {}

  /// Throws Error(bad_data) for what is no such message, and for bytes that are not what was sealed: the snapshot is
  /// dropped, and the next one may be received.
  void take(std::string_view message);
  [[nodiscard]] int64_t received_step() const { return received_; }

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

  std::string prefix_;
  std::optional<Incoming> incoming_;
  std::string memory_name_;
  std::optional<SnapshotMemory> memory_;
  int64_t received_ = -1;
};

/// The end of a copy's name.
inline constexpr std::string_view kSnapshotCopy = ".copy";

}  // namespace trident
