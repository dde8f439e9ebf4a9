#include "tests/checkpoint/crash_model.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "tests/scratch_dir.h"

namespace trident::testing {
namespace {

namespace fs = std::filesystem;
using test::write_file;
using Kind = FileCall::Kind;
using Keep = CrashModel::Fate::Keep;

constexpr size_t kSector = 512;

bool keeps(Keep keep, std::mt19937& random) { return keep == Keep::some ? random() % 2 == 0 : keep == Keep::all; }

void put(std::string& content, size_t offset, const std::string& bytes) {
  content.resize(std::max(content.size(), offset + bytes.size()));
  std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace

CrashModel::CrashModel(fs::path base) : base_(std::move(base)) { inodes_.emplace_back().folder = true; }

size_t CrashModel::find(const fs::path& path) const {
  size_t inode = 0;
  for (const fs::path& name : path.lexically_relative(base_)) {
    if (name == ".") continue;
    const auto found = inodes_[inode].names.find(name.string());
    TRIDENT_CHECK(found != inodes_[inode].names.end(), path.string());
    inode = found->second;
  }
  return inode;
}

CrashModel::Inode& CrashModel::folder_of(const fs::path& path) { return inodes_[find(path.parent_path())]; }

void CrashModel::change(Inode& folder, NameChange change) {
  if (!change.removed.empty()) folder.names.erase(change.removed);
  if (!change.added.empty()) folder.names[change.added] = change.inode;
  folder.changes.push_back(std::move(change));
}

void CrashModel::add(const fs::path& path, bool folder) {
  const std::string name = path.filename().string();
  if (folder_of(path).names.contains(name)) return;
  inodes_.emplace_back().folder = folder;
  change(folder_of(path), {{}, name, inodes_.size() - 1});
}

void CrashModel::move(const FileCall& call) {
  TRIDENT_CHECK(call.path.parent_path() == call.to.parent_path(), "the model knows renames within a folder");
  change(folder_of(call.path), {call.path.filename().string(), call.to.filename().string(), find(call.path)});
}

void CrashModel::apply(const FileCall& call) {
  switch (call.kind) {
    case Kind::create: return add(call.path, false);
    case Kind::create_directory: return add(call.path, true);
    case Kind::write: inodes_[find(call.path)].writes.push_back({call.offset, call.bytes}); return;
    case Kind::reserve:
    case Kind::close: return;
    case Kind::sync: {
      Inode& file = inodes_[find(call.path)];
      for (const Write& write : std::exchange(file.writes, {}))
        put(file.lasting_bytes, static_cast<size_t>(write.offset), write.bytes);
      return;
    }
    case Kind::sync_directory: {
      // The names above the base are not of this model.
      if (call.path.lexically_relative(base_).begin()->string() == "..") return;
      Inode& folder = inodes_[find(call.path)];
      folder.lasting_names = folder.names;
      folder.changes.clear();
      return;
    }
    case Kind::rename:
    case Kind::replace: return move(call);
    case Kind::remove:
      if (folder_of(call.path).names.contains(call.path.filename().string()))
        change(folder_of(call.path), {call.path.filename().string(), {}, 0});
      return;
  }
}

std::string CrashModel::content(const Inode& file, const Fate& fate, std::mt19937& random) {
  std::string content = file.lasting_bytes;
  for (const auto& [offset, bytes] : file.writes) {
    const auto begin = static_cast<size_t>(offset);
    // The length may last without the bytes.
    if (keeps(fate.data, random)) content.resize(std::max(content.size(), begin + bytes.size()));
    for (size_t at = 0; at < bytes.size(); at += kSector)
      if (keeps(fate.data, random)) put(content, begin + at, bytes.substr(at, kSector));
  }
  return content;
}

void CrashModel::collect(size_t inode, const std::string& path, const Fate& fate, std::mt19937& random,
                         Files& files) const {
  const Inode& node = inodes_[inode];
  if (!node.folder) {
    files[path] = content(node, fate, random);
    return;
  }
  if (!path.empty()) files[path + "/"] = {};
  auto names = node.lasting_names;
  for (const NameChange& change : node.changes) {
    if (!keeps(fate.names, random)) continue;
    if (!change.removed.empty()) names.erase(change.removed);
    if (!change.added.empty()) names[change.added] = change.inode;
  }
  for (const auto& [name, child] : names) collect(child, path.empty() ? name : path + "/" + name, fate, random, files);
}

CrashModel::Files CrashModel::after_power_failure(const Fate& fate) const {
  Files files;
  std::mt19937 random(fate.seed);
  collect(0, "", fate, random, files);
  return files;
}

void materialize(const CrashModel::Files& files, const fs::path& base) {
  fs::remove_all(base);
  fs::create_directories(base);
  for (const auto& [path, content] : files) {
    if (path.ends_with('/'))
      fs::create_directories(base / path);
    else
      write_file(base / path, content);
  }
}

}  // namespace trident::testing
