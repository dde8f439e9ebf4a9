#include "checkpoint/checkpoint_root.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>

#include "core/error.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step_", kTemporary = ".tmp.", kDeleted = ".del.";

std::string name_of(int64_t step) { return fmt::format("step_{:08}", step); }

std::optional<int64_t> step_in(std::string_view name, std::string_view suffix) {
  int64_t step = 0;
  if (!name.starts_with(kPrefix) || !name.ends_with(suffix)) return std::nullopt;
  name.remove_suffix(suffix.size());
  const char* end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (error != std::errc() || stopped != end || step < 0 || name != name_of(step)) return std::nullopt;
  return step;
}

// A folder that cannot be read is not an empty one: a run would begin anew.
template <class Look>
void for_each_entry(const fs::path& root, const Look& look) {
  std::error_code error;
  for (fs::directory_iterator it(root, error), end; !error && it != end; it.increment(error)) look(*it);
  if (error && error != std::errc::no_such_file_or_directory)
    throw system_error(error.value(), "checkpoint/root", "cannot list " + root.string());
}

}  // namespace

std::vector<CheckpointRoot::Entry> CheckpointRoot::list() const { return list(""); }

std::vector<CheckpointRoot::Entry> CheckpointRoot::list_abandoned() const { return list(kAbandoned); }

std::vector<CheckpointRoot::Entry> CheckpointRoot::list(std::string_view suffix) const {
  std::vector<Entry> entries;
  for_each_entry(root_, [&](const fs::directory_entry& entry) {
    std::error_code error;
    const auto step = step_in(entry.path().filename().string(), suffix);
    // No link, pipe or file that only has the name.
    if (step && entry.symlink_status(error).type() == fs::file_type::directory)
      entries.push_back({*step, entry.path()});
  });
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.step > b.step; });
  return entries;
}

fs::path CheckpointRoot::folder(int64_t step) const { return root_ / name_of(step); }

fs::path CheckpointRoot::abandoned(int64_t step) const { return folder(step) += kAbandoned; }

fs::path CheckpointRoot::temporary(int64_t step, const std::string& id) const {
  return root_ / fmt::format("{}{}.{}", kTemporary, name_of(step), id);
}

int CheckpointRoot::sweep(FileSystem& files) const {
  std::vector<fs::path> left;
  for_each_entry(root_, [&](const fs::directory_entry& entry) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kTemporary) || name.starts_with(kDeleted)) left.push_back(entry.path());
  });
  for (const fs::path& path : left) files.remove(path);
  return static_cast<int>(left.size());
}

void CheckpointRoot::retain(FileSystem& files, int64_t keep, int64_t keep_every, int64_t verified) const {
  if (keep <= 0) return;
  const std::vector<Entry> entries = list();
  std::vector<fs::path> deleted;
  const auto take_away = [&](const fs::path& folder) {
    deleted.push_back(root_ / (std::string(kDeleted) + folder.filename().string()));
    files.remove(deleted.back());
    files.rename(folder, deleted.back());
  };
  for (size_t i = static_cast<size_t>(keep); i < entries.size(); ++i) {
    const auto& [step, folder] = entries[i];
    if (step != verified && (keep_every <= 0 || step % keep_every != 0)) take_away(folder);
  }
  if (entries.size() >= static_cast<size_t>(keep)) {
    const int64_t oldest_kept = entries[static_cast<size_t>(keep) - 1].step;
    for (const auto& [step, folder] : list_abandoned()) {
      if (step <= oldest_kept) take_away(folder);
    }
  }
  if (deleted.empty()) return;
  // Otherwise a power failure could bring back a name whose files are gone.
  files.sync_directory(root_);
  for (const fs::path& path : deleted) files.remove(path);
}

}  // namespace trident
