#include "launch/copy_messages.h"

#include "launch/wire/bytes.h"

namespace trident {
namespace {

constexpr size_t kText = 1024;

}  // namespace

std::string encode(const SnapshotPiece& piece) {
  return ByteWriter().number(piece.rank).number(piece.base).number(piece.step).raw(piece.bytes).take();
}

std::optional<SnapshotPiece> decode_snapshot_piece(std::string_view payload) {
  ByteReader reader(payload);
  SnapshotPiece piece;
  piece.rank = reader.number<int32_t>();
  piece.base = reader.number<int64_t>();
  piece.step = reader.number<int64_t>();
  if (reader.failed()) return std::nullopt;
  piece.bytes = payload.substr(kSnapshotPieceHead);
  return piece;
}

std::string encode(const CopyAnswer& answer) {
  return ByteWriter()
      .number(answer.rank)
      .number(answer.step)
      .number<uint8_t>(answer.no_room ? 1 : 0)
      .text(std::string_view(answer.refusal).substr(0, kText))
      .take();
}

std::optional<CopyAnswer> decode_copy_answer(std::string_view payload) {
  ByteReader reader(payload);
  CopyAnswer answer;
  answer.rank = reader.number<int32_t>();
  answer.step = reader.number<int64_t>();
  answer.no_room = reader.number<uint8_t>() != 0;
  answer.refusal = reader.text(kText);
  return reader.complete() ? std::optional(std::move(answer)) : std::nullopt;
}

}  // namespace trident
