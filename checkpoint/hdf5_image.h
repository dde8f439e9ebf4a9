#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include "checkpoint/hdf5_handle.h"

namespace trident::hdf5 {

/// A new HDF5 file that exists only in memory, of which only the pages that HDF5 writes take room: a dataset that is
/// allocated and never written costs nothing. So HDF5 decides where everything lies, and others write the bytes.
class Image {
 public:
  Image() = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  /// Size of the file, once it is closed.
  [[nodiscard]] int64_t bytes() const { return bytes_; }
  /// Copies from byte `offset` on; what HDF5 never wrote is zero.
  void read(int64_t offset, std::span<std::byte> out) const;

  void write(int64_t offset, std::span<const std::byte> bytes);
  void resize(int64_t bytes) { bytes_ = bytes; }

 private:
  static constexpr int64_t kPageBytes = 4096;
  using Page = std::array<std::byte, kPageBytes>;
  std::map<int64_t, Page> pages_;  ///< by their first byte
  int64_t bytes_ = 0;
};

/// Creates the file in `image`, which must outlive it. Objects of at least `align_from` bytes begin at multiples of
/// 4096. The same calls give the same bytes: no times are kept. Needs a Session.
[[nodiscard]] Handle create_file(Image& image, int64_t align_from);

}  // namespace trident::hdf5
