#pragma once

#include <hdf5.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace trident {

/// One HDF5 handle, closed with the call that fits it.
class Hdf5Handle {
 public:
  Hdf5Handle() = default;
  /// Throws Error(io) naming `what` with HDF5's own message if `id` is none.
  Hdf5Handle(hid_t id, herr_t (*close)(hid_t), const char* what);
  ~Hdf5Handle() { reset(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    if (this != &other) {
      reset();
      id_ = std::exchange(other.id_, -1);
      close_ = other.close_;
    }
    return *this;
  }
  [[nodiscard]] hid_t get() const { return id_; }
  void reset() {
    if (id_ >= 0) close_(id_);
    id_ = -1;
  }

 private:
  hid_t id_ = -1;
  herr_t (*close_)(hid_t) = nullptr;
};

/// Throws Error(io) naming `what` with HDF5's own message where a call failed.
void require_hdf5(bool ok, const char* what);

/// An HDF5 file that exists in memory only, and of which only what HDF5 writes takes memory: datasets that are
/// allocated but never written cost nothing. HDF5 does no I/O of its own.
class Hdf5MemoryFile {
 public:
  /// Runs `build` on a new, empty file; small objects lie where they fall, large ones at multiples of 4 KiB.
  explicit Hdf5MemoryFile(const std::function<void(hid_t file)>& build);

  [[nodiscard]] int64_t bytes() const { return bytes_; }
  /// What HDF5 wrote at [offset, offset + size), zero where it wrote nothing.
  void read(int64_t offset, std::span<std::byte> out) const;

 private:
  friend struct Hdf5MemoryDriver;
  static constexpr int64_t kPageBytes = 4096;
  void write(int64_t offset, std::span<const std::byte> in);

  std::map<int64_t, std::vector<std::byte>> pages_;  // by offset
  int64_t bytes_ = 0;
};

}  // namespace trident
