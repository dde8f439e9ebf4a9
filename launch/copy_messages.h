#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trident {

// What two nodes say to one another about copies of snapshots, over a WireLink of their own: frames of kind
// NodeMessage::piece one way, NodeMessage::kept back. A frame's epoch is that of the order that it follows.

/// A message of SnapshotSender. `bytes` are the payload's.
struct SnapshotPiece {
  int32_t rank = 0;
  int64_t base = -1;  ///< of the sender's order: this copy is not overwritten
  int64_t step = -1;
  std::string_view bytes;
};

/// How the copy of a step ended.
struct CopyAnswer {
  int32_t rank = 0;
  int64_t step = -1;
  bool no_room = false;
  std::string refusal;  ///< empty: it is kept
};

/// Bytes of a piece besides the message's.
constexpr size_t kSnapshotPieceHead = 20;

[[nodiscard]] std::string encode(const SnapshotPiece& piece);
[[nodiscard]] std::string encode(const CopyAnswer& answer);
// Nothing where the payload is none.
[[nodiscard]] std::optional<SnapshotPiece> decode_snapshot_piece(std::string_view payload);
[[nodiscard]] std::optional<CopyAnswer> decode_copy_answer(std::string_view payload);

}  // namespace trident
