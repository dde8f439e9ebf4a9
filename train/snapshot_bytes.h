#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/rank_bytes.h"
#include "checkpoint/rectangle_reader.h"
#include "parallel/comm/communicator.h"
#include "train/saved_state.h"

namespace trident {

/// Where one rank's part of a state lies.
struct SnapshotPlace {
  std::span<const std::byte> here{};  ///< in this node's memory; else empty
  int server = 0;                     ///< the rank that gives its bytes to nodes that do not hold it
};

/// The snapshots of all ranks of one state, as rank files: read where they lie in this node's memory, fetched from the
/// ranks that have them where not.
class SnapshotBytes : public RankBytes {
 public:
  /// By rank file.
  explicit SnapshotBytes(std::vector<SnapshotPlace> places) : places_(std::move(places)) {}

  /// Gets from other ranks what `state` will ask `reader`, a reader of these bytes, for; that takes at most the memory
  /// of this rank's own part. Every rank of the world takes part, whether it needs anything or not.
  void fetch(const SavedState& state, const RectangleReader& reader, const Communicator& world);
  void read(int file, int64_t offset, std::span<std::byte> out, const std::string& tensor) override;

  /// Bytes that came from other ranks.
  [[nodiscard]] int64_t fetched_bytes() const { return std::ssize(std::as_bytes(std::span(fetched_))); }

 private:
  struct Range {
    int64_t file = 0;
    int64_t offset = 0;
    int64_t bytes = 0;
  };
  /// What one rank sends, in the order in which it is read.
  struct Stream {
    std::vector<Range> ranges;
    std::span<const std::byte> bytes;  ///< ranges one behind the other
    size_t range = 0;                  ///< read so far
    int64_t in_range = 0;
    int64_t at = 0;
  };
  void ask(int64_t file, int64_t offset, int64_t bytes);
  [[nodiscard]] std::vector<std::vector<Range>> exchange_ranges(const Communicator& world) const;
  void exchange_bytes(const std::vector<std::vector<Range>>& asked, const Communicator& world);

  std::vector<SnapshotPlace> places_;
  std::vector<Stream> streams_;  // by rank of the world
  std::vector<int64_t> fetched_;
};

}  // namespace trident
