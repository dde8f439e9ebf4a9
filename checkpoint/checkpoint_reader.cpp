#include "checkpoint/checkpoint_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint_folder.h"
#include "checkpoint/rank_file.h"
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
      : folder(std::move(path)),
        manifest(checked_manifest(folder)),
        files(folder, manifest),
        rectangles(manifest, files, folder.path().string()) {
    require_files(folder, manifest);
  }

  CheckpointFolder folder;
  Manifest manifest;
  VerifiedFiles files;
  RectangleReader rectangles;
};

CheckpointReader::CheckpointReader(std::filesystem::path folder) : state_(std::make_unique<State>(std::move(folder))) {}
CheckpointReader::~CheckpointReader() = default;

const std::filesystem::path& CheckpointReader::folder() const { return state_->folder.path(); }
const Manifest& CheckpointReader::manifest() const { return state_->manifest; }
int64_t CheckpointReader::blocks_read() const { return state_->files.blocks_read(); }

int CheckpointReader::find(const std::string& tensor) const { return state_->rectangles.find(tensor); }
RectangleReader& CheckpointReader::rectangles() { return state_->rectangles; }

void CheckpointReader::read(StateKind kind, int tensor, const LogicalBlock& block, std::span<float> out) {
  state_->rectangles.read(kind, tensor, block, out);
}

void CheckpointReader::read(StateKind kind, int tensor, const LogicalBlock& block, std::span<double> out) {
  state_->rectangles.read(kind, tensor, block, out);
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
