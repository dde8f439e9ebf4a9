#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <limits>
#include <string>

#include "core/error.h"
#include "launch/wire/bytes.h"
#include "launch/wire/frame.h"
#include "launch/wire/secret.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

// ---- secret

class JobSecretTest : public testing::Test {
 protected:
  void write(const std::string& text) const {
    std::ofstream(file_, std::ios::binary) << text;
    ASSERT_EQ(chmod(file_.c_str(), 0600), 0);
  }
  void expect_refused(const std::string& why) const {
    try {
      (void)JobSecret::load(file_);
      FAIL() << "expected: " << why;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_data);
      EXPECT_THAT(error.what(), testing::HasSubstr(why));
    }
  }

  const test::ScratchDir folder_;
  const fs::path file_ = folder_ / "secret";
};

TEST_F(JobSecretTest, LiesInAFileOfItsUserAlone) {
  const JobSecret secret = JobSecret::create(file_);
  struct stat status {};
  ASSERT_EQ(stat(file_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0600U);
  EXPECT_EQ(status.st_size, 65);
  EXPECT_EQ(JobSecret::load(file_), secret);
  EXPECT_THROW((void)JobSecret::create(file_), Error);
  EXPECT_EQ(JobSecret::load(file_), secret);
}

TEST_F(JobSecretTest, IsNeverTheSame) { EXPECT_NE(JobSecret::generate(), JobSecret::generate()); }

TEST_F(JobSecretTest, RefusesAFileThatOthersMayHaveSeen) {
  (void)JobSecret::create(file_);
  for (const mode_t mode : {0640U, 0604U, 0660U, 0700U}) {
    ASSERT_EQ(chmod(file_.c_str(), mode), 0);
    expect_refused("expected 0600");
  }
  ASSERT_EQ(chmod(file_.c_str(), 0600), 0);
  fs::create_hard_link(file_, folder_ / "other");
  expect_refused("has 2 names");
  fs::remove(folder_ / "other");
  if (geteuid() != 0) return;
  ASSERT_EQ(chown(file_.c_str(), 65534, 65534), 0);
  expect_refused("belongs to user 65534");
}

TEST_F(JobSecretTest, RefusesWhatIsNoSecret) {
  EXPECT_THROW((void)JobSecret::load(file_), Error);
  const std::string digits(64, 'a');
  for (const std::string& text : {std::string(), digits, digits + "a\n", digits.substr(1) + "g\n",
                                  digits.substr(1) + "-\n", digits + "\n\n", digits.substr(2) + "\n"}) {
    write(text);
    expect_refused("64 hexadecimal digits");
  }
  fs::rename(file_, folder_ / "real");
  fs::create_symlink(folder_ / "real", file_);
  EXPECT_THROW((void)JobSecret::load(file_), Error);
}

TEST_F(JobSecretTest, GoesThroughAPipeAndLeavesTheRest) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const JobSecret secret = JobSecret::generate();
  secret.send(ends[1]);
  ASSERT_EQ(::write(ends[1], "rest", 4), 4);
  EXPECT_EQ(JobSecret::receive(ends[0]), secret);
  std::array<char, 8> rest{};
  EXPECT_EQ(::read(ends[0], rest.data(), rest.size()), 4);
  ::close(ends[1]);
  EXPECT_THROW((void)JobSecret::receive(ends[0]), Error);
  ::close(ends[0]);
}

// ---- payloads

TEST(WireBytes, ComeBackAsTheyWere) {
  const std::string bytes = ByteWriter()
                                .number(uint8_t{200})
                                .number(int64_t{-5})
                                .number(0.1)
                                .number(true)
                                .text({"a\0b", 3})
                                .number(std::numeric_limits<int32_t>::min())
                                .take();
  ByteReader reader(bytes);
  EXPECT_EQ(reader.number<uint8_t>(), 200);
  EXPECT_EQ(reader.number<int64_t>(), -5);
  EXPECT_EQ(reader.number<double>(), 0.1);
  EXPECT_TRUE(reader.number<bool>());
  EXPECT_EQ(reader.text(100), std::string("a\0b", 3));
  EXPECT_FALSE(reader.complete());
  EXPECT_EQ(reader.number<int32_t>(), std::numeric_limits<int32_t>::min());
  EXPECT_TRUE(reader.complete());
  EXPECT_EQ(ByteWriter().number(uint32_t{0x01020304}).bytes(), "\x04\x03\x02\x01");
}

TEST(WireBytes, WhatIsMissingFailsEverythingAfterIt) {
  ByteReader reader(std::string_view("\x01\x02\x03", 3));
  EXPECT_EQ(reader.number<uint32_t>(), 0);
  EXPECT_TRUE(reader.failed());
  EXPECT_EQ(reader.number<uint8_t>(), 0);
  EXPECT_FALSE(reader.complete());
}

TEST(WireBytes, BoundsHoldBeforeMemoryIsTaken) {
  const std::string huge = ByteWriter().number(uint32_t{0xffffffff}).raw("abcd").take();
  EXPECT_EQ(ByteReader(huge).text(3), "");
  EXPECT_EQ(ByteReader(huge).text(0xffffffff), "");
  EXPECT_EQ(ByteReader(huge).count(0xffffffff, 1), 0U);
  const std::string four = ByteWriter().number(uint32_t{4}).raw("abcd").take();
  EXPECT_EQ(ByteReader(four).count(4, 1), 4U);
  EXPECT_EQ(ByteReader(four).count(4, 2), 0U);
  EXPECT_EQ(ByteReader(four).count(3, 1), 0U);
  EXPECT_EQ(ByteReader(four).text(4), "abcd");
  EXPECT_EQ(ByteReader(four).text(3), "");
}

// ---- frames

class FrameTest : public testing::Test {
 protected:
  [[nodiscard]] SecretKey key(WireRole role) const { return frame_key(secret_, role, connector_, listener_); }
  [[nodiscard]] SecretKey key() const { return key(WireRole::connector); }
  [[nodiscard]] static std::optional<FrameFault> fault_of(const SecretKey& key, std::string_view bytes) {
    FrameReader reader(key);
    while (!bytes.empty() && !reader.fault()) (void)reader.read(bytes);
    return reader.fault();
  }

  const JobSecret secret_ = JobSecret::generate();
  const WireNonce connector_ = random_nonce();
  const WireNonce listener_ = random_nonce();
};

TEST_F(FrameTest, ComeBackWhateverThePieces) {
  const std::vector<Frame> frames{{1, 7, "hello"}, {65535, -1, ""}, {2, 0, std::string(5000, 'x')}};
  FrameWriter writer(key());
  std::string bytes;
  for (const Frame& frame : frames) bytes += writer.write(frame);
  EXPECT_EQ(bytes.size(), 3 * kFrameOverhead + 5005);
  for (const size_t piece : {size_t{1}, size_t{7}, kFrameHeader, bytes.size()}) {
    FrameReader reader(key());
    std::vector<Frame> read;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      std::string_view some = std::string_view(bytes).substr(at, piece);
      while (auto frame = reader.read(some)) read.push_back(*std::move(frame));
      EXPECT_TRUE(some.empty());
    }
    EXPECT_EQ(read, frames);
    EXPECT_TRUE(reader.at_boundary());
    EXPECT_FALSE(reader.fault());
  }
}

// The format and the key's derivation, computed by another program: agents of two builds must understand each other.
TEST_F(FrameTest, HaveTheDocumentedBytes) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  constexpr std::string_view kLine = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
  ASSERT_EQ(::write(ends[1], kLine.data(), kLine.size()), std::ssize(kLine));
  const JobSecret secret = JobSecret::receive(ends[0]);
  for (const int end : ends) ::close(end);
  WireNonce connector{}, listener{};
  connector.fill(0xc0);
  listener.fill(0x10);
  std::string hex;
  for (const char c :
       FrameWriter(frame_key(secret, WireRole::connector, connector, listener)).write({0x0201, -2, "ab"}))
    hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  EXPECT_EQ(hex,
            "545257460100010202000000feffffffffffffff00000000000000006162"
            "1547d9c4778b3dd4f1323a08af94b7008339728540aea43574c4723da6b85e1d");
}

TEST_F(FrameTest, AnyChangedBitIsRefused) {
  FrameWriter writer(key());
  const std::string good = writer.write({3, 9, "some payload"}), next = writer.write({3, 9, std::string(300, 'n')});
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good + next;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    FrameReader reader(key());
    std::string_view bytes = bad;
    EXPECT_FALSE(reader.read(bytes)) << "bit " << bit;
    // Where the length has grown, it waits for more than there is.
    EXPECT_TRUE(reader.fault() || bytes.empty()) << "bit " << bit;
    if (bit >= 8 * kFrameHeader) {
      EXPECT_EQ(reader.fault(), FrameFault::forged);
    }
    EXPECT_FALSE(reader.read(bytes)) << "bit " << bit;
  }
}

TEST_F(FrameTest, APartIsNoFrame) {
  const std::string whole = FrameWriter(key()).write({3, 9, "some payload"});
  for (size_t size = 0; size < whole.size(); ++size) {
    FrameReader reader(key());
    std::string_view bytes = std::string_view(whole).substr(0, size);
    EXPECT_FALSE(reader.read(bytes));
    EXPECT_FALSE(reader.fault());
    EXPECT_EQ(reader.at_boundary(), size == 0);
  }
}

TEST_F(FrameTest, ALengthIsRefusedBeforeAnythingOfItIsTaken) {
  const std::string most = FrameWriter(key()).write({1, 1, std::string(kMaxFramePayload, 'm')});
  EXPECT_FALSE(fault_of(key(), most));
  EXPECT_THROW((void)FrameWriter(key()).write({1, 1, std::string(kMaxFramePayload + 1, 'm')}), Error);

  std::string header = most.substr(0, kFrameHeader);
  header[8] = 1;  // the length's lowest byte
  const std::string all = header + std::string(100, 'p');
  FrameReader reader(key());
  std::string_view bytes = all;
  EXPECT_FALSE(reader.read(bytes));
  EXPECT_EQ(reader.fault(), FrameFault::oversized);
  EXPECT_EQ(bytes.size(), 100U);

  FrameReader strict(key(), 3);
  const std::string four = FrameWriter(key()).write({1, 1, "four"});
  bytes = four;
  EXPECT_FALSE(strict.read(bytes));
  EXPECT_EQ(strict.fault(), FrameFault::oversized);
}

TEST_F(FrameTest, NoneIsTakenTwiceOrOutOfTurn) {
  FrameWriter writer(key());
  const std::string first = writer.write({1, 1, "a"}), second = writer.write({1, 1, "b"});
  EXPECT_FALSE(fault_of(key(), first + second));
  EXPECT_EQ(fault_of(key(), first + first), FrameFault::replayed);
  EXPECT_EQ(fault_of(key(), first + second + first), FrameFault::replayed);
  EXPECT_EQ(fault_of(key(), second), FrameFault::replayed);
}

TEST_F(FrameTest, NoneIsTakenFromElsewhere) {
  const std::string frame = FrameWriter(key()).write({1, 1, "a"});
  EXPECT_FALSE(fault_of(key(WireRole::connector), frame));
  EXPECT_EQ(fault_of(key(WireRole::listener), frame), FrameFault::forged) << "reflected";
  WireNonce other = connector_;
  other[15] ^= 1U;
  const auto role = WireRole::connector;
  EXPECT_EQ(fault_of(frame_key(secret_, role, other, listener_), frame), FrameFault::forged) << "another connection";
  EXPECT_EQ(fault_of(frame_key(secret_, role, connector_, other), frame), FrameFault::forged);
  EXPECT_EQ(fault_of(frame_key(secret_, role, listener_, connector_), frame), FrameFault::forged);
  EXPECT_EQ(fault_of(frame_key(JobSecret::generate(), role, connector_, listener_), frame), FrameFault::forged);
}

TEST_F(FrameTest, WhatIsNoFrameIsMalformed) {
  EXPECT_EQ(fault_of(key(), "GET / HTTP/1.1\r\nHost: localhost\r\n"), FrameFault::malformed);
}

TEST_F(FrameTest, NothingIsTakenAfterAFault) {
  FrameReader reader(key());
  std::string_view bad = "GET / HTTP/1.1\r\nHost: localhost\r\n";
  EXPECT_FALSE(reader.read(bad));
  const std::string good = FrameWriter(key()).write({1, 1, "a"});
  std::string_view bytes = good;
  EXPECT_FALSE(reader.read(bytes));
  EXPECT_EQ(bytes.size(), good.size());
}

}  // namespace
}  // namespace trident
