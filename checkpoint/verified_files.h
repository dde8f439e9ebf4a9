#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_folder.h"
#include "checkpoint/file_hash.h"
#include "checkpoint/manifest.h"
#include "checkpoint/rank_bytes.h"

namespace trident {

/// The block hashes of a rank's file, proved by the manifest. Throws DamagedCheckpoint naming the .sum file, Error(io).
[[nodiscard]] BlockHashes read_block_hashes(const CheckpointFolder& folder, const RankFile& file);

/// The bytes of a checkpoint's rank files, each block compared with its hash before any of it is given out. Keeps the
/// blocks used last, and a bounded number of files open. For one thread; folder and manifest must outlive it.
class VerifiedFiles : public RankBytes {
 public:
  /// Blocks kept, used only as far as needed: loading reads three states side by side, from the files of up to eight
  /// tensor-parallel ranks, and stops in the middle of a block in each.
  static constexpr size_t kBlocksKept = 32;
  static constexpr size_t kFilesOpen = 64;

  VerifiedFiles(const CheckpointFolder& folder, const Manifest& manifest);

  /// Throws DamagedCheckpoint, Error(io).
  void read(int file, int64_t offset, std::span<std::byte> out, const std::string& tensor) override;
  /// Blocks read from the files so far.
  [[nodiscard]] int64_t blocks_read() const { return blocks_read_; }

 private:
  struct Block {
    int file = -1;
    int64_t number = 0;
    int64_t last_use = 0;
    int64_t given = 0;  ///< bytes given out so far
    std::unique_ptr<std::byte[]> bytes;
  };
  struct File {
    std::optional<BlockHashes> hashes;
    std::optional<InputFile> input;
    std::list<int>::iterator use;  ///< in open_, while input is there
  };

  [[nodiscard]] const RankFile& rank_file(int file) const { return manifest_.rank_files[static_cast<size_t>(file)]; }
  [[nodiscard]] int64_t bytes_of(int file, int64_t block) const;
  /// Opens the file, closing the one not used for longest where too many are open.
  const InputFile& opened(int file);
  /// Reads and compares a whole block.
  void load(int file, int64_t block, std::span<std::byte> out, const std::string& tensor);
  [[nodiscard]] Block* find(int file, int64_t block);
  /// Where to read the next block to: a new place, or that of a block least likely to be wanted again.
  [[nodiscard]] Block& place_for_block();
  /// The block from memory, read if need be.
  Block& kept(int file, int64_t block, const std::string& tensor);

  const CheckpointFolder& folder_;
  const Manifest& manifest_;
  std::vector<File> files_;
  std::list<int> open_;  ///< used last first
  std::vector<Block> blocks_;
  size_t recent_ = 0;  ///< place of the block used last
  int64_t uses_ = 0;
  int64_t blocks_read_ = 0;
};

}  // namespace trident
