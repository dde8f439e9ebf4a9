#include "tests/checkpoint/small_save.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "checkpoint/file_hash.h"
#include "checkpoint/rank_file.h"
#include "core/error.h"
#include "tests/checkpoint/state_source.h"
#include "tests/scratch_dir.h"

namespace trident::testing {
namespace {

namespace fs = std::filesystem;
using test::read_file;

constexpr int64_t kRows = 5, kColumns = 7, kGain = 6;

std::vector<float> array_of(const RankFile& file, int64_t step, int kind) {
  std::vector<float> values(static_cast<size_t>(file.elements));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(step) + static_cast<float>(i) / 8 + static_cast<float>(100 * kind + file.elements);
  return values;
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace

Manifest small_manifest(int64_t step) {
  Manifest manifest;
  manifest.run_id = "small";
  manifest.step = step;
  manifest.consumed_samples = 16 * step;
  if (step > 1) manifest.parent_step = step - 1;
  manifest.seed = 0xfedcba9876543210ULL;
  manifest.layout = {2, 1, 1, 1, 1};
  manifest.trainer = {{"loss_scale", 65536.0}};
  manifest.config_hash = {1, 2};
  manifest.tokenizer_hash = {3, 4};
  manifest.tensors = {{"layers.0.query.weight", Shape{kRows, kColumns}}, {"layers.0.gain", Shape{kGain}}};
  manifest.digests = {{11, 12, 13}, {21, 22, 23}};
  RankFile first, second;
  first.name = rank_file_name(0);
  first.elements = 17;
  first.segments = {{0, {0, 2, 0, 7}, 0}, {0, {2, 1, 0, 3}, 14}};
  second.name = rank_file_name(1);
  second.elements = 25;  // one of them padding
  second.segments = {{0, {2, 1, 3, 4}, 0}, {0, {3, 2, 0, 7}, 4}, {1, {0, kGain, 0, 1}, 18}};
  manifest.rank_files = {first, second};
  return manifest;
}

fs::path small_temporary(const CheckpointRoot& root, int64_t step) { return root.temporary(step, "test"); }

fs::path save_small(FileSystem& files, const CheckpointRoot& root, int64_t step) {
  Manifest manifest = small_manifest(step);
  const fs::path temporary = small_temporary(root, step);
  files.create_directory(temporary);
  for (int rank = 0; rank < 2; ++rank) {
    RankFile& file = manifest.rank_files[static_cast<size_t>(rank)];
    RankFileHeader header;
    header.run_id = manifest.run_id;
    header.step = step;
    header.rank = rank;
    header.elements = file.elements;
    header.tensors = manifest.tensors;
    header.segments = file.segments;
    StateArrays<float> arrays;
    for (int kind = 0; kind < kStateKinds; ++kind) arrays[static_cast<size_t>(kind)] = array_of(file, step, kind);
    file = write_rank_file(files, temporary, header, source_of(arrays));
  }
  return commit_checkpoint(files, root, temporary, manifest, {{"config.yaml", "step: " + std::to_string(step) + "\n"}});
}

std::string problem_with(const fs::path& folder) {
  try {
    const Manifest manifest = read_manifest(folder);
    require_exact_cover(manifest, folder.string());
    for (const RankFile& file : manifest.rank_files) {
      const std::string content = read_file(folder / file.name);
      const std::string sums = read_file(folder / block_hash_file_name(file.name));
      BlockHasher hasher;
      hasher.update(bytes_of(content));
      const BlockHashes hashes = hasher.finish();
      if (std::ssize(content) != file.bytes || hashes.file_hash() != file.hash) return file.name + " differs";
      if (decode_block_hashes(bytes_of(sums), file.name) != hashes) return file.name + ": its block hashes differ";
    }
    for (const ExtraFile& file : manifest.extra_files) {
      const std::string content = read_file(folder / file.name);
      if (std::ssize(content) != file.bytes || hash_bytes(bytes_of(content)) != file.hash)
        return file.name + " differs";
    }
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace trident::testing
