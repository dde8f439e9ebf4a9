#include "checkpoint/checkpoint_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint_folder.h"
#include "checkpoint/rank_file.h"
#include "checkpoint/segment_index.h"
#include "checkpoint/verified_files.h"
#include "core/error.h"

namespace trident {
namespace {

constexpr const char* kComponent = "checkpoint/reader";

/// Damage is told apart from a checkpoint that is not there or too new.
Manifest checked_manifest(const CheckpointFolder& folder) {
  try {
    Manifest manifest = read_manifest(folder.path());
    require_exact_cover(manifest, folder.path().string());
    return manifest;
  } catch (const NewerFormat&) {
    throw;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_data) throw;
    throw DamagedCheckpoint(folder.path(), {Manifest::kFileName, {}, {}, error.problem()});
  }
}

void require_files(const CheckpointFolder& folder, const Manifest& manifest) {
  const auto require = [&](const std::string& name, int64_t bytes) {
    if (auto problem = folder.problem_with(name, bytes)) throw DamagedCheckpoint(folder.path(), std::move(*problem));
  };
  for (const RankFile& file : manifest.rank_files) {
    require(file.name, file.bytes);
    require(block_hash_file_name(file.name), block_hash_file_bytes(file.bytes));
  }
  for (const ExtraFile& file : manifest.extra_files)
    if (file.name != kMasterViewName) require(file.name, file.bytes);
}

}  // namespace

struct CheckpointReader::State {
  explicit State(std::filesystem::path path)
      : folder(std::move(path)), manifest(checked_manifest(folder)), segments(manifest), files(folder, manifest) {
    require_files(folder, manifest);
    for (size_t i = 0; i < manifest.tensors.size(); ++i) by_name.emplace(manifest.tensors[i].name, static_cast<int>(i));
  }

  /// `count` elements from byte `offset` of a file on.
  template <class T>
  void read_run(int file, int64_t offset, std::span<T> out, const std::string& tensor) {
    if (manifest.dtype == DTypeOf<T>::value) return files.read(file, offset, std::as_writable_bytes(out), tensor);
    using Stored = std::conditional_t<std::is_same_v<T, float>, double, float>;
    stored.resize(kConvertAtOnce * sizeof(Stored));
    while (!out.empty()) {
      const std::span<T> part = out.first(std::min(out.size(), kConvertAtOnce));
      const auto bytes = std::span(stored).first(part.size() * sizeof(Stored));
      files.read(file, offset, bytes, tensor);
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
  void read_piece(StateKind kind, const SegmentIndex::Piece& piece, const LogicalBlock& wanted, std::span<T> out) {
    const LogicalBlock &segment = piece.segment.block, &part = piece.block;
    const int64_t begin = manifest.rank_files[static_cast<size_t>(piece.file)].payload[static_cast<size_t>(kind)];
    const std::string& name = manifest.tensors[static_cast<size_t>(piece.segment.tensor)].name;
    // Rows that are whole both in the file and in `out` are one run.
    const bool whole_rows = part.columns == segment.columns && part.columns == wanted.columns;
    const int64_t runs = whole_rows ? 1 : part.rows;
    for (int64_t run = 0; run < runs; ++run) {
      const int64_t row = part.row0 + run;
      const int64_t from =
          piece.segment.offset + (row - segment.row0) * segment.columns + (part.column0 - segment.column0);
      const int64_t to = (row - wanted.row0) * wanted.columns + (part.column0 - wanted.column0);
      const int64_t count = whole_rows ? part.elements() : part.columns;
      read_run(piece.file, begin + from * static_cast<int64_t>(size_of(manifest.dtype)),
               out.subspan(static_cast<size_t>(to), static_cast<size_t>(count)), name);
    }
  }

  template <class T>
  void read(StateKind kind, int tensor, const LogicalBlock& block, std::span<T> out) {
    TRIDENT_CHECK(tensor >= 0 && static_cast<size_t>(tensor) < manifest.tensors.size());
    const LogicalTensor& logical = manifest.tensors[static_cast<size_t>(tensor)];
    const LogicalBlock whole = whole_block(logical.shape);
    TRIDENT_CHECK(block.row0 >= 0 && block.rows >= 0 && block.row0 + block.rows <= whole.rows, logical.name);
    TRIDENT_CHECK(block.column0 >= 0 && block.columns >= 0 && block.column0 + block.columns <= whole.columns,
                  logical.name);
    TRIDENT_CHECK(std::ssize(out) == block.elements(), logical.name);
    if (static_cast<int>(kind) >= manifest.states())
      throw Error(ErrorCode::input_missing, kComponent,
                  fmt::format("{} holds weights alone, no {}", folder.path().string(), to_string(kind)),
                  "load the weights only");
    int64_t found = 0;
    for (const SegmentIndex::Piece& piece : segments.pieces(tensor, block)) {
      read_piece(kind, piece, block, out);
      found += piece.block.elements();
    }
    TRIDENT_CHECK(found == block.elements(), logical.name);
  }

  static constexpr size_t kConvertAtOnce = size_t{1} << 13;

  CheckpointFolder folder;
  Manifest manifest;
  SegmentIndex segments;
  VerifiedFiles files;
  std::unordered_map<std::string, int> by_name;
  std::vector<std::byte> stored;  ///< elements before they are converted
};

CheckpointReader::CheckpointReader(std::filesystem::path folder) : state_(std::make_unique<State>(std::move(folder))) {}
CheckpointReader::~CheckpointReader() = default;

const std::filesystem::path& CheckpointReader::folder() const { return state_->folder.path(); }
const Manifest& CheckpointReader::manifest() const { return state_->manifest; }
int64_t CheckpointReader::blocks_read() const { return state_->files.blocks_read(); }

int CheckpointReader::find(const std::string& tensor) const {
  const auto found = state_->by_name.find(tensor);
  return found == state_->by_name.end() ? -1 : found->second;
}

void CheckpointReader::read(StateKind kind, int tensor, const LogicalBlock& block, std::span<float> out) {
  state_->read(kind, tensor, block, out);
}

void CheckpointReader::read(StateKind kind, int tensor, const LogicalBlock& block, std::span<double> out) {
  state_->read(kind, tensor, block, out);
}

std::string CheckpointReader::extra_file(const std::string& name) {
  const auto& extras = state_->manifest.extra_files;
  const auto file =
      std::find_if(extras.begin(), extras.end(), [&](const ExtraFile& extra) { return extra.name == name; });
  if (file == extras.end())
    throw Error(ErrorCode::input_missing, kComponent, fmt::format("{} has no file {}", folder().string(), name));
  const std::vector<std::byte> bytes = state_->folder.content(name, file->bytes);
  if (const Hash128 found = hash_bytes(bytes); found != file->hash)
    throw DamagedCheckpoint(
        folder(),
        {name, {}, {}, fmt::format("its hash is {}, the manifest says {}", to_hex(found), to_hex(file->hash))});
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace trident
