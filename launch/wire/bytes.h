#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace trident {

/// A payload's bytes: numbers little endian without padding, a text as its length (u32) and its bytes.
class ByteWriter {
 public:
  template <class Number>
  requires std::is_arithmetic_v<Number> ByteWriter& number(Number value) {
    if constexpr (std::floating_point<Number>) {
      static_assert(sizeof(Number) == sizeof(uint64_t));
      append(std::bit_cast<uint64_t>(value), sizeof(value));
    } else {
      append(static_cast<uint64_t>(value), sizeof(value));
    }
    return *this;
  }
  ByteWriter& text(std::string_view value);
  /// As they are, without a length.
  ByteWriter& raw(std::string_view bytes);

  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] std::string take() { return std::move(bytes_); }

 private:
  void append(uint64_t value, size_t width);

  std::string bytes_;
};

/// Reads them back from anything: what is not there, or larger than its bound, reads as 0 or empty and fails the whole
/// reading. Never throws for what it is given, and never takes more memory than that.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  template <class Number>
  requires std::is_arithmetic_v<Number>
  [[nodiscard]] Number number() {
    if constexpr (std::floating_point<Number>) {
      static_assert(sizeof(Number) == sizeof(uint64_t));
      return std::bit_cast<Number>(read(sizeof(Number)));
    } else {
      return static_cast<Number>(read(sizeof(Number)));
    }
  }
  [[nodiscard]] std::string text(size_t most);
  [[nodiscard]] std::string_view raw(size_t size);
  /// How many things follow (u32), each of at least so many bytes.
  [[nodiscard]] size_t count(size_t most, size_t bytes_each);

  /// For a value that makes no sense.
  void fail();
  [[nodiscard]] bool failed() const { return failed_; }
  /// Everything was there, and nothing is left.
  [[nodiscard]] bool complete() const { return !failed_ && rest_.empty(); }

 private:
  [[nodiscard]] uint64_t read(size_t width);

  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace trident
