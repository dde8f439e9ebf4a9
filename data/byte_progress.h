#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace trident {

/// Tells on stderr how far a pass over many bytes has come: one line that rewrites itself on a terminal, a log line
/// every ten seconds elsewhere.
class ByteProgress {
 public:
  explicit ByteProgress(std::optional<int64_t> total_bytes);
  /// Ends the terminal's line.
  ~ByteProgress();
  ByteProgress(const ByteProgress&) = delete;
  ByteProgress& operator=(const ByteProgress&) = delete;

  void advance(int64_t bytes);
  double seconds() const;

  /// "12.3 of 45.6 MB, 10.2 MB/s, 3 s left"
  static std::string line(int64_t done, std::optional<int64_t> total, double seconds);

 private:
  std::optional<int64_t> total_bytes_;
  int64_t done_ = 0;
  bool terminal_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace trident
