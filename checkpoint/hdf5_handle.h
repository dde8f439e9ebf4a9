#pragma once

#include <hdf5.h>

#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace trident::hdf5 {

/// Hold one while calling HDF5: one caller at a time (not every build of the library is thread-safe), and the library
/// prints nothing, since its errors become Errors.
class Session {
 public:
  Session();
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

 private:
  std::unique_lock<std::mutex> lock_;
  H5E_auto2_t print_ = nullptr;
  void* print_data_ = nullptr;
};

/// Throws Error(internal) "cannot `what`" with HDF5's own messages where `status`, a return value, is negative.
void require(int64_t status, std::string_view what);

/// Owns one identifier.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);

  /// Throws as require() does where `id` is negative.
  Handle(hid_t id, Close closer, std::string_view what) : id_(id), close_(closer) { require(id, what); }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }

  [[nodiscard]] hid_t get() const { return id_; }
  /// For what is lost if closing fails; the destructor does not look.
  void close(std::string_view what) { require(close_(std::exchange(id_, H5I_INVALID_HID)), what); }

 private:
  hid_t id_;
  Close close_;
};

}  // namespace trident::hdf5
