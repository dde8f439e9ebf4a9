#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>

namespace trident {

/// 256 bits that nobody else may know. Wiped from memory at its end.
class SecretKey {
 public:
  static constexpr size_t kBytes = 32;

  SecretKey() = default;  ///< all zero
  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey();

  [[nodiscard]] std::span<uint8_t, kBytes> bytes() { return bytes_; }
  [[nodiscard]] std::span<const uint8_t, kBytes> bytes() const { return bytes_; }
  /// In a time that does not depend on the bytes.
  [[nodiscard]] bool operator==(const SecretKey& other) const;

 private:
  std::array<uint8_t, kBytes> bytes_{};
};

/// What all of a job's agents know and nobody else. As text it is one line of 64 hexadecimal digits: in a file that its
/// user alone may read, or on a pipe, as the standard input of a remote shell (never in arguments or the environment,
/// which other users can see).
class JobSecret {
 public:
  [[nodiscard]] static JobSecret generate();
  /// A new one, in a new file (0600, on disk when this returns). Throws Error(io) where the file is already there.
  static JobSecret create(const std::filesystem::path& file);
  /// Throws Error where the file is not there (input_missing), could be read or written by others, belongs to another
  /// user, is a link or has another name, or holds anything else (bad_data).
  static JobSecret load(const std::filesystem::path& file);

  /// Takes exactly its line from a pipe, waiting for it. Throws Error(bad_data) where it is none.
  static JobSecret receive(int descriptor);
  /// Throws Error(io).
  void send(int descriptor) const;

  [[nodiscard]] const SecretKey& key() const { return key_; }
  [[nodiscard]] bool operator==(const JobSecret& other) const = default;

 private:
  SecretKey key_;
};

}  // namespace trident
