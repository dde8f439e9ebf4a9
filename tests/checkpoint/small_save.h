#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_root.h"
#include "checkpoint/file_system.h"
#include "checkpoint/manifest.h"

namespace trident::testing {

/// Two tensors over two ranks, the second one beginning in the middle of a row.
[[nodiscard]] Manifest small_manifest(int64_t step);
/// Writes both ranks' files into the step's temporary folder, and the attachments and all else in commit_checkpoint().
/// Where that fails, `temporary` is left.
std::filesystem::path save_small(FileSystem& files, const CheckpointRoot& root, int64_t step);
[[nodiscard]] std::filesystem::path small_temporary(const CheckpointRoot& root, int64_t step);

/// What is not as the checkpoint's manifest says, read without the loader; empty where all is.
[[nodiscard]] std::string problem_with(const std::filesystem::path& folder);
/// Names in a folder, sorted.
[[nodiscard]] std::vector<std::string> names_in(const std::filesystem::path& folder);

}  // namespace trident::testing
