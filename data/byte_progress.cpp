#include "data/byte_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "core/log.h"

namespace trident {
namespace {

using std::chrono::steady_clock;

std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

}  // namespace

ByteProgress::ByteProgress(std::optional<int64_t> total_bytes)
    : total_bytes_(total_bytes), terminal_(::isatty(STDERR_FILENO) == 1), start_(steady_clock::now()), last_(start_) {}

ByteProgress::~ByteProgress() {
  if (shown_ && terminal_) std::fputc('\n', stderr);
}

void ByteProgress::advance(int64_t bytes) {
  done_ += bytes;
  const auto now = steady_clock::now();
  if (now - last_ < (terminal_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(10000))) return;
  last_ = now;
  shown_ = true;
  const std::string text = line(done_, total_bytes_, seconds());
  if (terminal_) {
    fmt::print(stderr, "\rtokenize: {}\x1b[K", text);
    std::fflush(stderr);
  } else {
    log::info("tokenize: {}", text);
  }
}

double ByteProgress::seconds() const { return std::chrono::duration<double>(steady_clock::now() - start_).count(); }

std::string ByteProgress::line(int64_t done, std::optional<int64_t> total, double seconds) {
  constexpr double megabyte = 1e6;
  const auto bytes = static_cast<double>(done);
  const double rate = seconds > 0 ? bytes / seconds : 0;
  if (!total) return fmt::format("{:.1f} MB, {:.1f} MB/s", bytes / megabyte, rate / megabyte);
  const auto all = static_cast<double>(*total);
  std::string text = fmt::format("{:.1f} of {:.1f} MB, {:.1f} MB/s", bytes / megabyte, all / megabyte, rate / megabyte);
  if (rate > 0) text += ", " + duration(std::max(0.0, all - bytes) / rate) + " left";
  return text;
}

}  // namespace trident
