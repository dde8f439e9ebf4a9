#include "checkpoint/file_hash.h"

#include <fmt/format.h>
#include <xxhash.h>
#ifdef TRIDENT_XXHASH_DISPATCHES
#include <xxh_x86dispatch.h>  // the same functions for the widest vectors that the CPU has
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include "core/error.h"

namespace trident {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian and written as memory holds them");

// Magic, file bytes, block bytes, number of blocks, hashes, XXH3-64 of all before.
constexpr std::string_view kMagic{"TRIDSUM1", 8};
constexpr size_t kHeaderBytes = 32;

}  // namespace

std::string to_hex(Hash128 hash) { return fmt::format("{:016x}{:016x}", hash.high, hash.low); }

Hash128 hash128_from_hex(std::string_view text) {
  const auto half = [&](std::string_view digits) {
    uint64_t value = 0;
    const bool lower = std::all_of(digits.begin(), digits.end(),
                                   [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (!lower || error != std::errc() || end != digits.data() + digits.size())
      throw Error(ErrorCode::bad_data, "checkpoint/hash", fmt::format("'{}' is not 32 hexadecimal digits", text));
    return value;
  };
  if (text.size() != 32)
    throw Error(ErrorCode::bad_data, "checkpoint/hash",
                fmt::format("a hash of {} characters, expected 32 hexadecimal digits", text.size()));
  return {half(text.substr(0, 16)), half(text.substr(16))};
}

uint64_t hash_block(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Hash128 hash_bytes(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

Hash128 hash_bytes(std::string_view text) { return hash_bytes(std::as_bytes(std::span(text))); }

Hash128 BlockHashes::file_hash() const { return hash_bytes(encode(*this)); }

int64_t hash_blocks(int64_t file_bytes) {
  return file_bytes / kHashBlockBytes + (file_bytes % kHashBlockBytes == 0 ? 0 : 1);
}

int64_t block_hash_file_bytes(int64_t file_bytes) {
  return static_cast<int64_t>(kHeaderBytes) + hash_blocks(file_bytes) * 8 + 8;
}

std::vector<std::byte> encode(const BlockHashes& hashes) {
  std::vector<std::byte> bytes(kHeaderBytes + hashes.blocks.size() * 8 + 8);
  std::byte* at = bytes.data();
  const auto put = [&](const void* data, size_t size) {
    if (size > 0) std::memcpy(at, data, size);
    at += size;
  };
  const uint64_t numbers[] = {static_cast<uint64_t>(hashes.file_bytes), static_cast<uint64_t>(kHashBlockBytes),
                              hashes.blocks.size()};
  put(kMagic.data(), kMagic.size());
  put(numbers, sizeof numbers);
  put(hashes.blocks.data(), hashes.blocks.size() * 8);
  const uint64_t own = hash_block(std::span(bytes).first(bytes.size() - 8));
  put(&own, sizeof own);
  return bytes;
}

BlockHashes decode_block_hashes(std::span<const std::byte> bytes, const std::string& source) {
  const auto refuse = [&](const std::string& problem) {
    return Error(ErrorCode::bad_data, "checkpoint/hash", source + ": " + problem);
  };
  const auto number = [&](size_t at) {
    uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  };
  if (bytes.size() < kHeaderBytes + 8 || bytes.size() % 8 != 0)
    throw refuse(fmt::format("{} bytes are no file of block hashes", bytes.size()));
  if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) throw refuse("it does not begin with TRIDSUM1");
  if (number(bytes.size() - 8) != hash_block(bytes.first(bytes.size() - 8)))
    throw refuse("its own hash does not match");
  const uint64_t file_bytes = number(8), count = number(24);
  if (number(16) != static_cast<uint64_t>(kHashBlockBytes))
    throw refuse(fmt::format("blocks of {} bytes, expected {}", number(16), kHashBlockBytes));
  if (file_bytes > INT64_MAX || count != bytes.size() / 8 - 5 ||
      count != static_cast<uint64_t>(hash_blocks(static_cast<int64_t>(file_bytes))))
    throw refuse(fmt::format("{} blocks for a file of {} bytes", count, file_bytes));
  BlockHashes hashes{static_cast<int64_t>(file_bytes), std::vector<uint64_t>(count)};
  if (count > 0) std::memcpy(hashes.blocks.data(), bytes.data() + kHeaderBytes, count * 8);
  return hashes;
}

struct BlockHasher::State {
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> block{XXH3_createState()};
  int64_t in_block = 0;
  BlockHashes hashes;

  void end_block() {
    hashes.blocks.push_back(XXH3_64bits_digest(block.get()));
    XXH3_64bits_reset(block.get());
    in_block = 0;
  }
};

BlockHasher::BlockHasher() : state_(std::make_unique<State>()) { XXH3_64bits_reset(state_->block.get()); }
BlockHasher::~BlockHasher() = default;

void BlockHasher::update(std::span<const std::byte> bytes) {
  state_->hashes.file_bytes += std::ssize(bytes);
  while (!bytes.empty()) {
    const auto count = std::min(bytes.size(), static_cast<size_t>(kHashBlockBytes - state_->in_block));
    // A whole block at once takes the faster one-shot form.
    if (state_->in_block == 0 && count == static_cast<size_t>(kHashBlockBytes)) {
      state_->hashes.blocks.push_back(hash_block(bytes.first(count)));
    } else {
      XXH3_64bits_update(state_->block.get(), bytes.data(), count);
      state_->in_block += static_cast<int64_t>(count);
      if (state_->in_block == kHashBlockBytes) state_->end_block();
    }
    bytes = bytes.subspan(count);
  }
}

BlockHashes BlockHasher::finish() {
  if (state_->in_block > 0) state_->end_block();
  return std::move(state_->hashes);
}

}  // namespace trident
