#include "checkpoint/file_hash.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"

namespace trident {
namespace {

using ::testing::HasSubstr;

std::vector<std::byte> random_bytes(size_t count) {
  std::mt19937_64 engine(3);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(engine());
  return bytes;
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_data);
    return error.what();
  }
  return "nothing was refused";
}

TEST(FileHash, IsXxh3OnEveryCpu) {
  EXPECT_EQ(hash_block({}), 0x2d06800538d394c2ULL);  // from the xxHash specification's reference implementation
  EXPECT_EQ(to_hex(hash_bytes(std::span<const std::byte>())), "99aa06d3014798d86001c324468d497f");
  const auto bytes = random_bytes(100'000);
  for (const size_t size : {1U, 8U, 16U, 128U, 240U, 241U, 1024U, 4097U, 100'000U}) {
    const auto part = std::span(bytes).first(size);
    EXPECT_EQ(hash_block(part), XXH3_64bits(part.data(), size)) << size;
    EXPECT_EQ(hash_bytes(part).low, XXH3_128bits(part.data(), size).low64) << size;
    EXPECT_EQ(hash_bytes(part).high, XXH3_128bits(part.data(), size).high64) << size;
  }
}

TEST(FileHash, HexadecimalBothWays) {
  const Hash128 hash{0x0123456789abcdef, 0xfedcba9876543210};
  EXPECT_EQ(to_hex(hash), "0123456789abcdeffedcba9876543210");
  EXPECT_EQ(hash128_from_hex(to_hex(hash)), hash);
  const auto refused = [](const std::string& text) {
    return refusal([&] { static_cast<void>(hash128_from_hex(text)); });
  };
  EXPECT_THAT(refused(""), HasSubstr("0 characters"));
  EXPECT_THAT(refused(std::string(31, '0')), HasSubstr("31 characters"));
  EXPECT_THAT(refused(std::string(31, '0') + "G"), HasSubstr("is not 32 hexadecimal digits"));
  EXPECT_THAT(refused("0123456789ABCDEF0123456789abcdef"), HasSubstr("is not 32"));
  EXPECT_THAT(refused("-" + std::string(31, '1')), HasSubstr("is not 32"));
}

TEST(FileHash, BlocksDoNotDependOnThePieces) {
  const auto bytes = random_bytes(2 * kHashBlockBytes + 12'345);
  BlockHashes expected{std::ssize(bytes), {}};
  for (size_t at = 0; at < bytes.size(); at += kHashBlockBytes)
    expected.blocks.push_back(
        hash_block(std::span(bytes).subspan(at, std::min<size_t>(kHashBlockBytes, bytes.size() - at))));
  for (const size_t piece : {size_t{4096}, size_t{1'000'003}, size_t{kHashBlockBytes}, bytes.size()}) {
    BlockHasher hasher;
    for (size_t at = 0; at < bytes.size(); at += piece)
      hasher.update(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    EXPECT_EQ(hasher.finish(), expected) << piece;
  }
}

TEST(FileHash, EmptyAndWholeBlocks) {
  EXPECT_EQ(BlockHasher().finish(), BlockHashes{});
  BlockHasher hasher;
  hasher.update(random_bytes(kHashBlockBytes));
  EXPECT_EQ(hasher.finish().blocks.size(), 1U);
}

TEST(BlockHashFile, ComesBackAsItWas) {
  for (const BlockHashes& hashes : {BlockHashes{}, BlockHashes{1, {7}}, BlockHashes{kHashBlockBytes, {7}},
                                    BlockHashes{kHashBlockBytes + 1, {7, UINT64_MAX}}}) {
    const auto bytes = encode(hashes);
    EXPECT_EQ(std::ssize(bytes), block_hash_file_bytes(hashes.file_bytes));
    EXPECT_EQ(decode_block_hashes(bytes, "a.sum"), hashes);
  }
}

TEST(BlockHashFile, TheFileHashStandsForSizeAndBlocks) {
  const Hash128 hash = BlockHashes{kHashBlockBytes + 1, {7, 8}}.file_hash();
  EXPECT_NE((BlockHashes{kHashBlockBytes + 2, {7, 8}}.file_hash()), hash);
  EXPECT_NE((BlockHashes{kHashBlockBytes + 1, {8, 7}}.file_hash()), hash);
}

TEST(BlockHashFile, EveryFlippedBitAndEveryCutIsRefused) {
  auto bytes = encode(BlockHashes{kHashBlockBytes + 1, {7, 8}});
  const auto decode = [&](size_t size) {
    return refusal([&] { static_cast<void>(decode_block_hashes(std::span(bytes).first(size), "a.sum")); });
  };
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const auto mask = std::byte(1U << bit % 8);
    bytes[bit / 8] ^= mask;
    EXPECT_THAT(decode(bytes.size()), HasSubstr("a.sum: "));
    bytes[bit / 8] ^= mask;
  }
  for (size_t size = 0; size < bytes.size(); ++size) EXPECT_THAT(decode(size), HasSubstr("a.sum: "));
}

/// `.sum` bytes with a right hash of their own, whatever else they say.
std::vector<std::byte> forged(std::vector<uint64_t> words) {
  words.insert(words.begin(), 0x314d555344495254);  // TRIDSUM1
  words.push_back(hash_block(std::as_bytes(std::span(words))));
  const auto bytes = std::as_bytes(std::span(words));
  return {bytes.begin(), bytes.end()};
}

TEST(BlockHashFile, WrongNumbersAreRefusedWithARightHash) {
  const auto refused = [](std::vector<uint64_t> words) {
    return refusal([&] { static_cast<void>(decode_block_hashes(forged(std::move(words)), "a.sum")); });
  };
  constexpr uint64_t kBlock = kHashBlockBytes;
  EXPECT_EQ(decode_block_hashes(forged({5, kBlock, 1, 9}), "a.sum"), (BlockHashes{5, {9}}));
  EXPECT_THAT(refused({5, 4096, 1, 9}), HasSubstr("blocks of 4096 bytes, expected"));
  EXPECT_THAT(refused({5, kBlock, 2, 9}), HasSubstr("2 blocks for a file of 5 bytes"));
  EXPECT_THAT(refused({5, kBlock, 2, 9, 9}), HasSubstr("2 blocks for a file of 5 bytes"));
  EXPECT_THAT(refused({kBlock + 1, kBlock, 1, 9}), HasSubstr("1 blocks for a file of"));
  EXPECT_THAT(refused({UINT64_MAX, kBlock, 1, 9}), HasSubstr("1 blocks for a file of"));
  EXPECT_THAT(refused({5, kBlock, UINT64_MAX, 9}), HasSubstr("blocks for a file of 5 bytes"));
}

TEST(BlockHashFile, OtherFilesAreNamed) {
  const auto refused = [](std::string_view text) {
    return refusal([&] { static_cast<void>(decode_block_hashes(bytes_of(text), "x/rank_00000.sum")); });
  };
  EXPECT_THAT(refused("x"), HasSubstr("x/rank_00000.sum: 1 bytes are no file of block hashes"));
  EXPECT_THAT(refused(std::string(48, 'x')), HasSubstr("does not begin with TRIDSUM1"));
}

}  // namespace
}  // namespace trident
