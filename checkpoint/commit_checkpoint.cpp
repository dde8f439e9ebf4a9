#include <fmt/format.h>

#include "checkpoint/checkpoint_root.h"
#include "checkpoint/rank_file.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

ExtraFile write_extra(FileSystem& files, const fs::path& folder, const std::string& name,
                      std::span<const std::byte> content) {
  write_file(files, folder / name, content);
  return {name, std::ssize(content), hash_bytes(content)};
}

// A hint for people and scripts: list() is what counts.
void point_latest_at(FileSystem& files, const CheckpointRoot& root, const fs::path& folder) {
  const fs::path fresh = root.path() / ".tmp.latest";
  files.remove(fresh);
  write_file(files, fresh, folder.filename().string() + "\n");
  files.replace(fresh, root.path() / "latest");
  files.sync_directory(root.path());
}

}  // namespace

fs::path commit_checkpoint(FileSystem& files, const CheckpointRoot& root, const fs::path& temporary, Manifest& manifest,
                           const std::vector<Attachment>& attachments) {
  const fs::path folder = root.folder(manifest.step);
  require_exact_cover(manifest, folder.string());
  manifest.extra_files.clear();
  for (const Attachment& attachment : attachments)
    manifest.extra_files.push_back(
        write_extra(files, temporary, attachment.name, std::as_bytes(std::span(attachment.content))));
  manifest.extra_files.push_back(write_extra(files, temporary, kMasterViewName, make_master_view(manifest)));
  // From here on every byte of the checkpoint is named and hashed.
  write_file(files, temporary / Manifest::kFileName, encode(manifest));
  files.sync_directory(temporary);
  files.rename(temporary, folder);
  files.sync_directory(root.path());
  point_latest_at(files, root, folder);
  return folder;
}

}  // namespace trident
