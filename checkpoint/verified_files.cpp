#include "checkpoint/verified_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "checkpoint/rank_file.h"
#include "core/error.h"

namespace trident {

BlockHashes read_block_hashes(const CheckpointFolder& folder, const RankFile& file) {
  const std::string name = block_hash_file_name(file.name);
  const std::vector<std::byte> bytes = folder.content(name, block_hash_file_bytes(file.bytes));
  if (const Hash128 found = hash_bytes(bytes); found != file.hash)
    throw DamagedCheckpoint(
        folder.path(),
        {name, {}, {}, fmt::format("its hash is {}, the manifest says {}", to_hex(found), to_hex(file.hash))});
  BlockHashes hashes = decode_block_hashes(bytes, (folder.path() / name).string());
  if (hashes.file_bytes != file.bytes)
    throw DamagedCheckpoint(
        folder.path(),
        {name, {}, {}, fmt::format("is for a file of {} bytes, expected {}", hashes.file_bytes, file.bytes)});
  return hashes;
}

VerifiedFiles::VerifiedFiles(const CheckpointFolder& folder, const Manifest& manifest)
    : folder_(folder), manifest_(manifest), files_(manifest.rank_files.size()) {}

int64_t VerifiedFiles::bytes_of(int file, int64_t block) const {
  return std::min(kHashBlockBytes, rank_file(file).bytes - block * kHashBlockBytes);
}

const InputFile& VerifiedFiles::opened(int file) {
  File& entry = files_[static_cast<size_t>(file)];
  if (entry.input) {
    open_.splice(open_.begin(), open_, entry.use);
    return *entry.input;
  }
  if (open_.size() == kFilesOpen) {
    files_[static_cast<size_t>(open_.back())].input.reset();
    open_.pop_back();
  }
  if (!entry.hashes) entry.hashes = read_block_hashes(folder_, rank_file(file));
  entry.input.emplace(folder_.open(rank_file(file).name, rank_file(file).bytes));
  entry.use = open_.insert(open_.begin(), file);
  return *entry.input;
}

void VerifiedFiles::load(int file, int64_t block, std::span<std::byte> out, const std::string& tensor) {
  opened(file).read(block * kHashBlockBytes, out);
  ++blocks_read_;
  const uint64_t found = hash_block(out),
                 expected = files_[static_cast<size_t>(file)].hashes->blocks[static_cast<size_t>(block)];
  if (found == expected) return;
  throw DamagedCheckpoint(folder_.path(),
                          {rank_file(file).name, tensor, block,
                           fmt::format("the block's hash is {:016x}, expected {:016x}", found, expected)});
}

VerifiedFiles::Block* VerifiedFiles::find(int file, int64_t block) {
  const auto is_it = [&](const Block& kept) { return kept.file == file && kept.number == block; };
  if (recent_ < blocks_.size() && is_it(blocks_[recent_])) return &blocks_[recent_];
  const auto found = std::find_if(blocks_.begin(), blocks_.end(), is_it);
  return found == blocks_.end() ? nullptr : &*found;
}

VerifiedFiles::Block& VerifiedFiles::place_for_block() {
  // Memory that was just used is in the processor's caches, so a block given out whole makes room first.
  const auto spent = std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& block) {
    return block.file < 0 || block.given >= bytes_of(block.file, block.number);
  });
  if (spent != blocks_.end()) return *spent;
  if (blocks_.size() == kBlocksKept)
    return *std::min_element(blocks_.begin(), blocks_.end(),
                             [](const Block& a, const Block& b) { return a.last_use < b.last_use; });
  Block& fresh = blocks_.emplace_back();
  fresh.bytes = std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(kHashBlockBytes));
  return fresh;
}

VerifiedFiles::Block& VerifiedFiles::kept(int file, int64_t block, const std::string& tensor) {
  Block* entry = find(file, block);
  if (entry == nullptr) {
    entry = &place_for_block();
    entry->file = -1;  // should load() throw
    load(file, block, {entry->bytes.get(), static_cast<size_t>(bytes_of(file, block))}, tensor);
    entry->file = file;
    entry->number = block;
    entry->given = 0;
  }
  entry->last_use = ++uses_;
  recent_ = static_cast<size_t>(entry - blocks_.data());
  return *entry;
}

void VerifiedFiles::read(int file, int64_t offset, std::span<std::byte> out, const std::string& tensor) {
  TRIDENT_CHECK(offset >= 0 && offset + std::ssize(out) <= rank_file(file).bytes, rank_file(file).name);
  while (!out.empty()) {
    const int64_t block = offset / kHashBlockBytes, within = offset % kHashBlockBytes;
    const int64_t whole = bytes_of(file, block), count = std::min(std::ssize(out), whole - within);
    const std::span<std::byte> to = out.first(static_cast<size_t>(count));
    // A block that is wanted whole goes straight to its place.
    if (count == whole && find(file, block) == nullptr) {
      load(file, block, to, tensor);
    } else {
      Block& from = kept(file, block, tensor);
      std::memcpy(to.data(), from.bytes.get() + within, to.size());
      from.given += count;
    }
    offset += count;
    out = out.subspan(static_cast<size_t>(count));
  }
}

}  // namespace trident
