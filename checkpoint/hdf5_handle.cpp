#include "checkpoint/hdf5_handle.h"

#include <fmt/format.h>

#include <cstdint>

#include "core/error.h"

namespace trident::hdf5 {
namespace {

std::mutex& library_mutex() {
  static std::mutex mutex;
  return mutex;
}

/// HDF5's messages from the innermost failure outwards, cut at two: what failed and what that spoiled.
std::string messages() {
  std::string text;
  const auto add = [](unsigned depth, const H5E_error2_t* error, void* data) -> herr_t {
    auto& all = *static_cast<std::string*>(data);
    if (depth < 2 && error->desc != nullptr) all += fmt::format("{}{}", all.empty() ? "" : "; ", error->desc);
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, add, &text);
  return text.empty() ? "HDF5 gives no reason" : text;
}

}  // namespace

Session::Session() : lock_(library_mutex()) {
  H5Eget_auto2(H5E_DEFAULT, &print_, &print_data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Session::~Session() { H5Eset_auto2(H5E_DEFAULT, print_, print_data_); }

void require(int64_t status, std::string_view what) {
  if (status < 0) throw Error(ErrorCode::internal, "checkpoint/hdf5", fmt::format("cannot {}: {}", what, messages()));
}

}  // namespace trident::hdf5
