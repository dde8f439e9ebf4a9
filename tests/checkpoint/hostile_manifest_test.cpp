#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "checkpoint/manifest.h"
#include "core/error.h"
#include "tests/checkpoint/sealed_text.h"
#include "tests/checkpoint/small_save.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::ScratchDir;
using testing::changed;
using testing::sealed;

// Sanitizers multiply time and memory.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kMeasured = false;
#else
constexpr bool kMeasured = true;
#endif
constexpr int64_t kMostKiB = 64 << 10;
constexpr double kMostSeconds = 1;

int64_t status_kib(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kib = 0;
    if (word == key && status >> kib) return kib;
  }
  return 0;
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec) + 1e-6 * static_cast<double>(usage.ru_utime.tv_usec);
}

enum Outcome { refused, taken, slow, large };

/// In a process of its own, whose memory begins with nothing freed before.
Outcome outcome_of(const std::function<void()>& read) {
  const pid_t pid = fork();
  if (pid == 0) {
    std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins anew
    const int64_t kib = status_kib("VmRSS:");
    const double begin = cpu_seconds();
    Outcome outcome = taken;
    try {
      read();
    } catch (const Error& error) {
      outcome = error.code() == ErrorCode::bad_data ? refused : taken;
    }
    if (kMeasured && cpu_seconds() - begin > kMostSeconds) outcome = slow;
    if (kMeasured && status_kib("VmHWM:") - kib > kMostKiB) outcome = large;
    _exit(outcome);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? static_cast<Outcome>(WEXITSTATUS(status)) : taken;
}

Outcome outcome_of_text(const std::string& text) {
  return outcome_of([&] { require_exact_cover(decode_manifest(text, "M"), "M"); });
}

std::string repeated(const std::string& piece, size_t bytes) {
  std::string text;
  text.reserve(bytes + piece.size());
  while (text.size() < bytes) text += piece;
  return text;
}

std::string manifest_text() {
  Manifest manifest = testing::small_manifest(1);
  for (RankFile& file : manifest.rank_files) {
    file.bytes = int64_t{1} << 40;
    file.elements = int64_t{1} << 36;
    file.payload = {0, int64_t{1} << 38, int64_t{1} << 39};
  }
  return encode(manifest);
}

TEST(CheckpointSceptic, T15AGigabyteIsNotRead) {
  const ScratchDir scratch;
  test::write_file(scratch / Manifest::kFileName, "{");
  for (const uintmax_t bytes : {uintmax_t{1} << 30, uintmax_t{1} << 42}) {
    std::filesystem::resize_file(scratch / Manifest::kFileName, bytes);
    EXPECT_EQ(outcome_of([&] { (void)read_manifest(scratch.path()); }), refused);
  }
}

// Each with its right hash; in the long form as large as a manifest may be.
TEST(CheckpointSceptic, T15HostileTextIsRefusedInLittleMemory) {
  const bool full = std::getenv("TRIDENT_LONG_TESTS") != nullptr;
  const size_t bytes = (full ? Manifest::kMaxBytes : Manifest::kMaxBytes / 4) - 4096;
  const std::string text = manifest_text();
  ASSERT_NO_THROW(require_exact_cover(decode_manifest(text, "M"), "M"));
  const auto trainer = [&](const std::string& value) { return changed(text, "{\"loss_scale\":65536.0}", value); };
  const auto check = [](const char* name, const std::string& hostile) {
    EXPECT_EQ(outcome_of_text(hostile), refused) << name;
  };
  check("deep lists", sealed("{\"a\":" + std::string(bytes, '[')));
  check("deep objects", sealed(repeated("{\"a\":", bytes)));
  check("numbers", trainer("[" + repeated("0,", bytes) + "0]"));
  check("empty lists", trainer("[" + repeated("[],", bytes) + "0]"));
  check("objects", trainer("[" + repeated("{\"a\":{}},", bytes) + "0]"));
  check("equal keys", trainer("{" + repeated("\"a\":0,", bytes) + "\"a\":0}"));
  check("bytes after the end", text + std::string(bytes, ' '));
  check("not UTF-8", trainer("[\"" + std::string(bytes, '\xff') + "\"]"));
  check("long text", trainer("{\"a\":\"" + repeated("\\\"a,", bytes) + "\"}"));
  check("space", trainer(std::string(bytes, ' ') + "{}"));
  check("a NUL", trainer(std::string(bytes, ' ') + '\0'));
  check("rank files", changed(text, "\"rank_files\":[", "\"rank_files\":[" + repeated("{\"segments\":[]},", bytes)));
  check("long segment", changed(text, "[0,0,0,2,7,0]", "[" + repeated("0,", bytes) + "0]"));
  check("long number", changed(text, "\"step\":1", "\"step\":" + std::string(bytes, '1')));
}

std::string distinct_keys(size_t count) {
  std::string text = "{";
  for (size_t i = 0; i < count; ++i) text += "\"" + std::to_string(i) + "\":{},";
  return text + "\"x\":0}";
}

TEST(CheckpointSceptic, T15HostileCountsAreRefusedInLittleMemory) {
  const std::string text = manifest_text();
  EXPECT_EQ(outcome_of_text(changed(text, "{\"loss_scale\":65536.0}", distinct_keys(3000000))), refused);
  // Within every limit but for one hole, overlap or shape.
  std::string rows;
  constexpr int64_t kRows = 300000;
  for (int64_t row = 0; row < kRows; ++row)
    rows += "[2," + std::to_string(row) + ",0,1,1," + std::to_string(100 + row) + "],";
  std::string large =
      changed(text, "{\"name\":\"layers.0.gain\"",
              "{\"name\":\"layers.0.key\",\"shape\":[1],\"digests\":[\"0000000000000000\",\"0000000000000000\","
              "\"0000000000000000\"]},{\"name\":\"layers.0.gain\"");
  large = changed(large, "[1,0,0,6,1,18]", rows + "[1,0,0,1,1,99]");
  EXPECT_EQ(outcome_of_text(changed(large, "[6]", "[300001]")), refused);
  EXPECT_EQ(outcome_of_text(changed(large, "[6]", "[299999]")), refused);
  EXPECT_EQ(outcome_of_text(changed(large, "[6]", "[300000]")), taken);
  EXPECT_EQ(outcome_of_text(changed(changed(large, "[6]", "[300000]"), "[2,7,0,1,1,107]", "[2,8,0,1,1,107]")), refused);
}

}  // namespace
}  // namespace trident
