#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace trident {

/// Numbers and texts one behind the other as the int64 words that a Communicator carries.
class WordWriter {
 public:
  void put(int64_t number) { words_.push_back(number); }
  void put(std::string_view text) {
    put(static_cast<int64_t>(text.size()));
    const size_t at = words_.size();
    words_.resize(at + (text.size() + 7) / 8);
    if (!text.empty()) std::memcpy(words_.data() + at, text.data(), text.size());
  }
  [[nodiscard]] const std::vector<int64_t>& words() const { return words_; }

 private:
  std::vector<int64_t> words_;
};

/// Takes them out again in the same order. Looks at the words, does not own them.
class WordReader {
 public:
  explicit WordReader(std::span<const int64_t> words) : words_(words) {}

  [[nodiscard]] bool at_end() const { return words_.empty(); }
  [[nodiscard]] int64_t number() { return take(1).front(); }
  [[nodiscard]] std::string text() {
    const auto size = static_cast<size_t>(number());
    TRIDENT_CHECK(size <= words_.size() * 8);
    const auto packed = take((size + 7) / 8);
    return {reinterpret_cast<const char*>(packed.data()), size};
  }

 private:
  std::span<const int64_t> take(size_t count) {
    TRIDENT_CHECK(count <= words_.size());
    const auto taken = words_.first(count);
    words_ = words_.subspan(count);
    return taken;
  }

  std::span<const int64_t> words_;
};

}  // namespace trident
