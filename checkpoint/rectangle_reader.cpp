#include "checkpoint/rectangle_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

constexpr size_t kConvertAtOnce = size_t{1} << 13;

}  // namespace

RectangleReader::RectangleReader(const Manifest& manifest, RankBytes& bytes, std::string source)
    : manifest_(manifest), bytes_(bytes), source_(std::move(source)), segments_(manifest) {
  for (size_t i = 0; i < manifest.tensors.size(); ++i) by_name_.emplace(manifest.tensors[i].name, static_cast<int>(i));
}

int RectangleReader::find(const std::string& tensor) const {
  const auto found = by_name_.find(tensor);
  return found == by_name_.end() ? -1 : found->second;
}

void RectangleReader::require_inside(StateKind kind, int tensor, const LogicalBlock& block) const {
  TRIDENT_CHECK(tensor >= 0 && static_cast<size_t>(tensor) < manifest_.tensors.size());
  const LogicalTensor& logical = manifest_.tensors[static_cast<size_t>(tensor)];
  const LogicalBlock whole = whole_block(logical.shape);
  TRIDENT_CHECK(block.row0 >= 0 && block.rows >= 0 && block.row0 + block.rows <= whole.rows, logical.name);
  TRIDENT_CHECK(block.column0 >= 0 && block.columns >= 0 && block.column0 + block.columns <= whole.columns,
                logical.name);
  if (static_cast<int>(kind) >= manifest_.states())
    throw Error(ErrorCode::input_missing, "checkpoint/reader",
                fmt::format("{} holds weights alone, no {}", source_, to_string(kind)), "load the weights only");
}

void RectangleReader::for_each_run(StateKind kind, int tensor, const LogicalBlock& block,
                                   const std::function<void(const Run& run)>& visit) const {
  require_inside(kind, tensor, block);
  const auto size = static_cast<int64_t>(size_of(manifest_.dtype));
  int64_t found = 0;
  for (const SegmentIndex::Piece& piece : segments_.pieces(tensor, block)) {
    const LogicalBlock &segment = piece.segment.block, &part = piece.block;
    const int64_t begin = manifest_.rank_files[static_cast<size_t>(piece.file)].payload[static_cast<size_t>(kind)];
    // Rows that are whole both in the file and in the rectangle are one run.
    const bool whole_rows = part.columns == segment.columns && part.columns == block.columns;
    const int64_t runs = whole_rows ? 1 : part.rows;
    for (int64_t run = 0; run < runs; ++run) {
      const int64_t row = part.row0 + run;
      const int64_t from =
          piece.segment.offset + (row - segment.row0) * segment.columns + (part.column0 - segment.column0);
      visit({.file = piece.file,
             .offset = begin + from * size,
             .count = whole_rows ? part.elements() : part.columns,
             .to = (row - block.row0) * block.columns + (part.column0 - block.column0)});
    }
    found += part.elements();
  }
  TRIDENT_CHECK(found == block.elements(), manifest_.tensors[static_cast<size_t>(tensor)].name);
}

template <class T>
void RectangleReader::read_run(int file, int64_t offset, std::span<T> out, const std::string& tensor) {
  if (manifest_.dtype == DTypeOf<T>::value) return bytes_.read(file, offset, std::as_writable_bytes(out), tensor);
  using Stored = std::conditional_t<std::is_same_v<T, float>, double, float>;
  stored_.resize(kConvertAtOnce * sizeof(Stored));
  while (!out.empty()) {
    const std::span<T> part = out.first(std::min(out.size(), kConvertAtOnce));
    const auto bytes = std::span(stored_).first(part.size() * sizeof(Stored));
    bytes_.read(file, offset, bytes, tensor);
    for (size_t i = 0; i < part.size(); ++i) {
      Stored value;
      std::memcpy(&value, bytes.data() + i * sizeof(Stored), sizeof(Stored));
      part[i] = static_cast<T>(value);
    }
    offset += std::ssize(bytes);
    out = out.subspan(part.size());
  }
}

template <class T>
void RectangleReader::read_block(StateKind kind, int tensor, const LogicalBlock& block, std::span<T> out) {
  TRIDENT_CHECK(std::ssize(out) == block.elements());
  for_each_run(kind, tensor, block, [&](const Run& run) {
    read_run(run.file, run.offset, out.subspan(static_cast<size_t>(run.to), static_cast<size_t>(run.count)),
             manifest_.tensors[static_cast<size_t>(tensor)].name);
  });
}

void RectangleReader::read(StateKind kind, int tensor, const LogicalBlock& block, std::span<float> out) {
  read_block(kind, tensor, block, out);
}

void RectangleReader::read(StateKind kind, int tensor, const LogicalBlock& block, std::span<double> out) {
  read_block(kind, tensor, block, out);
}

}  // namespace trident
