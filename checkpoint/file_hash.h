#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trident {

/// Files are hashed in blocks of this many bytes, so that who reads a part verifies little more than it.
inline constexpr int64_t kHashBlockBytes = int64_t{4} << 20;

struct Hash128 {
  uint64_t high = 0;
  uint64_t low = 0;
  bool operator==(const Hash128&) const = default;
};

/// 32 hexadecimal digits, the high half first.
[[nodiscard]] std::string to_hex(Hash128 hash);
/// Throws Error(bad_data) for anything but 32 lower-case hexadecimal digits.
[[nodiscard]] Hash128 hash128_from_hex(std::string_view text);

/// XXH3-64, seed 0.
[[nodiscard]] uint64_t hash_block(std::span<const std::byte> bytes);
/// XXH3-128, seed 0.
[[nodiscard]] Hash128 hash_bytes(std::span<const std::byte> bytes);
[[nodiscard]] Hash128 hash_bytes(std::string_view text);

/// The hashes of a file's blocks; the last block may be short. What `rank_00000.sum` holds.
struct BlockHashes {
  int64_t file_bytes = 0;
  std::vector<uint64_t> blocks;
  /// XXH3-128 over the encoded form: it stands for every byte of the file.
  [[nodiscard]] Hash128 file_hash() const;
  bool operator==(const BlockHashes&) const = default;
};

/// Blocks of a file of so many bytes, and bytes of its `.sum` file.
[[nodiscard]] int64_t hash_blocks(int64_t file_bytes);
[[nodiscard]] int64_t block_hash_file_bytes(int64_t file_bytes);
/// The bytes of a `.sum` file (docs/checkpoint-format.md).
[[nodiscard]] std::vector<std::byte> encode(const BlockHashes& hashes);
/// Throws Error(bad_data) starting with `source` where the bytes are not exactly such a file.
[[nodiscard]] BlockHashes decode_block_hashes(std::span<const std::byte> bytes, const std::string& source);

/// Hashes a file's bytes as they come, in file order.
class BlockHasher {
 public:
  BlockHasher();
  ~BlockHasher();
  BlockHasher(const BlockHasher&) = delete;
  BlockHasher& operator=(const BlockHasher&) = delete;
  void update(std::span<const std::byte> bytes);
  /// Once, after the last byte.
  [[nodiscard]] BlockHashes finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trident
