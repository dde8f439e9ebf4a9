#include <fmt/format.h>

#include <cstddef>
#include <span>
#include <string>

#include "checkpoint/checkpoint_root.h"
#include "checkpoint/rank_file.h"
#include "core/error.h"
#include "core/log.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

ExtraFile write_extra(FileSystem& files, const fs::path& folder, const std::string& name,
                      std::span<const std::byte> content) {
  write_file(files, folder / name, content);
  return {name, std::ssize(content), hash_bytes(content)};
}

// What no reader would take must not become a checkpoint.
void require_readable(const std::string& text, const fs::path& folder) {
  const std::string source = (folder / Manifest::kFileName).string();
  if (std::ssize(text) > Manifest::kMaxBytes)
    throw Error(ErrorCode::internal, "checkpoint/commit",
                fmt::format("{} would have {} bytes, at most {} are read", source, text.size(), Manifest::kMaxBytes),
                "save from fewer ranks");
  (void)decode_manifest(text, source);
}

// A hint for people and scripts: list() is what counts, and the checkpoint is committed.
void point_latest_at(FileSystem& files, const CheckpointRoot& root, const fs::path& folder) {
  const fs::path fresh = root.path() / ".tmp.latest";
  try {
    files.remove(fresh);
    write_file(files, fresh, folder.filename().string() + "\n");
    files.replace(fresh, root.path() / "latest");
    files.sync_directory(root.path());
  } catch (const Error& error) {
    log::warning("{} is saved, but 'latest' does not name it: {}", folder.string(), error.what());
    try {
      files.remove(fresh);
    } catch (const Error&) {  // swept at the next start
    }
  }
}

}  // namespace

fs::path commit_checkpoint(FileSystem& files, const CheckpointRoot& root, const fs::path& temporary, Manifest& manifest,
                           const std::vector<Attachment>& attachments) {
  fs::path folder = root.folder(manifest.step);
  require_exact_cover(manifest, folder.string());
  manifest.extra_files.clear();
  for (const Attachment& attachment : attachments)
    manifest.extra_files.push_back(
        write_extra(files, temporary, attachment.name, std::as_bytes(std::span(attachment.content))));
  manifest.extra_files.push_back(write_extra(files, temporary, kMasterViewName, make_master_view(manifest)));
  // From here on every byte of the checkpoint is named and hashed.
  const std::string text = encode(manifest);
  require_readable(text, folder);
  write_file(files, temporary / Manifest::kFileName, text);
  files.sync_directory(temporary);
  files.rename(temporary, folder);
  files.sync_directory(root.path());
  point_latest_at(files, root, folder);
  return folder;
}

}  // namespace trident
