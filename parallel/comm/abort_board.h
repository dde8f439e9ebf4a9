#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <string>

namespace trident {

/// Where a rank that gives up says so, in memory that other ranks look at while they wait. The first one counts.
class AbortBoard {
 public:
  void post(const std::string& reason) {
    int expected = kEmpty;
    if (!state_.compare_exchange_strong(expected, kWriting, std::memory_order_relaxed)) return;
    const size_t length = std::min(reason.size(), text_.size() - 1);
    std::memcpy(text_.data(), reason.data(), length);
    text_[length] = '\0';
    state_.store(kPosted, std::memory_order_release);
  }
  [[nodiscard]] std::optional<std::string> reason() const {
    if (state_.load(std::memory_order_acquire) != kPosted) return std::nullopt;
    return std::string(text_.data());
  }

 private:
  static constexpr int kEmpty = 0, kWriting = 1, kPosted = 2;
  std::atomic<int> state_{kEmpty};
  std::array<char, 4000> text_{};
};

}  // namespace trident
