#include "checkpoint/hdf5_memory_file.h"

#include <H5FDpublic.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>

#include "core/error.h"

namespace trident {

/// HDF5's virtual file driver of it. Callbacks return 0 for success; HDF5's own state comes first in the struct.
struct Hdf5MemoryDriver {
  H5FD_t base;
  Hdf5MemoryFile* file;
  haddr_t end_of_allocation;

  static Hdf5MemoryDriver& of(H5FD_t* file) { return *reinterpret_cast<Hdf5MemoryDriver*>(file); }
  static const Hdf5MemoryDriver& of(const H5FD_t* file) { return *reinterpret_cast<const Hdf5MemoryDriver*>(file); }

  static H5FD_t* open(const char* /*name*/, unsigned /*flags*/, hid_t access, haddr_t /*max*/) {
    const auto* target = static_cast<Hdf5MemoryFile* const*>(H5Pget_driver_info(access));
    if (target == nullptr) return nullptr;
    return &(new Hdf5MemoryDriver{{}, *target, 0})->base;
  }
  static herr_t close(H5FD_t* file) {
    const std::unique_ptr<Hdf5MemoryDriver> driver(&of(file));
    driver->file->bytes_ = static_cast<int64_t>(driver->end_of_allocation);
    return 0;
  }
  static herr_t query(const H5FD_t* /*file*/, unsigned long* flags) {
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA;
    return 0;
  }
  static haddr_t get_eoa(const H5FD_t* file, H5FD_mem_t /*type*/) { return of(file).end_of_allocation; }
  static herr_t set_eoa(H5FD_t* file, H5FD_mem_t /*type*/, haddr_t address) {
    of(file).end_of_allocation = address;
    return 0;
  }
  static haddr_t get_eof(const H5FD_t* file, H5FD_mem_t /*type*/) {
    return static_cast<haddr_t>(of(file).file->bytes_);
  }
  static herr_t read(H5FD_t* file, H5FD_mem_t /*type*/, hid_t /*transfer*/, haddr_t address, size_t size, void* out) {
    of(file).file->read(static_cast<int64_t>(address), {static_cast<std::byte*>(out), size});
    return 0;
  }
  static herr_t write(H5FD_t* file, H5FD_mem_t /*type*/, hid_t /*transfer*/, haddr_t address, size_t size,
                      const void* in) {
    of(file).file->write(static_cast<int64_t>(address), {static_cast<const std::byte*>(in), size});
    return 0;
  }
  static herr_t truncate(H5FD_t* file, hid_t /*transfer*/, hbool_t /*closing*/) {
    of(file).file->bytes_ = static_cast<int64_t>(of(file).end_of_allocation);
    return 0;
  }
};

namespace {

// HDF5 keeps state of its own; ranks may be threads.
std::mutex& library() {
  static std::mutex mutex;
  return mutex;
}

herr_t keep_last(unsigned /*depth*/, const H5E_error2_t* error, void* text) {
  if (error->desc != nullptr) *static_cast<std::string*>(text) = error->desc;
  return 0;
}

H5FD_class_t driver_class() {
  H5FD_class_t driver{};
  driver.name = "trident memory";
  driver.maxaddr = static_cast<haddr_t>(INT64_MAX);
  driver.fc_degree = H5F_CLOSE_STRONG;
  driver.fapl_size = sizeof(Hdf5MemoryFile*);
  driver.open = Hdf5MemoryDriver::open;
  driver.close = Hdf5MemoryDriver::close;
  driver.query = Hdf5MemoryDriver::query;
  driver.get_eoa = Hdf5MemoryDriver::get_eoa;
  driver.set_eoa = Hdf5MemoryDriver::set_eoa;
  driver.get_eof = Hdf5MemoryDriver::get_eof;
  driver.read = Hdf5MemoryDriver::read;
  driver.write = Hdf5MemoryDriver::write;
  driver.truncate = Hdf5MemoryDriver::truncate;
  const H5FD_mem_t map[] = H5FD_FLMAP_DICHOTOMY;
  std::copy(std::begin(map), std::end(map), driver.fl_map);
  return driver;
}

}  // namespace

Hdf5Handle::Hdf5Handle(hid_t id, herr_t (*close)(hid_t), const char* what) : id_(id), close_(close) {
  require_hdf5(id >= 0, what);
}

void require_hdf5(bool ok, const char* what) {
  if (ok) return;
  std::string reason = "no reason given";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_last, &reason);
  throw Error(ErrorCode::io, "checkpoint/hdf5", std::string("HDF5 cannot ") + what + ": " + reason);
}

Hdf5MemoryFile::Hdf5MemoryFile(const std::function<void(hid_t file)>& build) {
  const std::lock_guard lock(library());
  H5E_auto2_t print = nullptr;
  void* to = nullptr;
  H5Eget_auto2(H5E_DEFAULT, &print, &to);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  struct Restore {
    H5E_auto2_t print;
    void* to;
    ~Restore() { H5Eset_auto2(H5E_DEFAULT, print, to); }
  } const restore{print, to};
  const H5FD_class_t driver = driver_class();
  const Hdf5Handle registered(H5FDregister(&driver), H5FDunregister, "register a driver");
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "prepare a file");
  Hdf5MemoryFile* self = this;
  constexpr hsize_t kLargeObject = 4096;
  // Newer bounds mark a file that was not closed, and detect damaged metadata.
  require_hdf5(H5Pset_driver(access.get(), registered.get(), static_cast<const void*>(&self)) >= 0 &&
                   H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0 &&
                   H5Pset_alignment(access.get(), kLargeObject, kPageBytes) >= 0,
               "prepare a file");
  Hdf5Handle file(H5Fcreate("memory", H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose, "make a file");
  build(file.get());
  require_hdf5(H5Fflush(file.get(), H5F_SCOPE_GLOBAL) >= 0, "finish a file");
  file.reset();
}

void Hdf5MemoryFile::read(int64_t offset, std::span<std::byte> out) const {
  std::fill(out.begin(), out.end(), std::byte{0});
  const int64_t end = offset + std::ssize(out);
  for (auto page = pages_.lower_bound(offset / kPageBytes * kPageBytes); page != pages_.end() && page->first < end;
       ++page) {
    const int64_t begin = std::max(offset, page->first), stop = std::min(end, page->first + kPageBytes);
    std::memcpy(out.data() + (begin - offset), page->second.data() + (begin - page->first),
                static_cast<size_t>(stop - begin));
  }
}

void Hdf5MemoryFile::write(int64_t offset, std::span<const std::byte> in) {
  bytes_ = std::max(bytes_, offset + std::ssize(in));
  while (!in.empty()) {
    const int64_t at = offset / kPageBytes * kPageBytes;
    std::vector<std::byte>& page = pages_[at];
    page.resize(kPageBytes);
    const auto count = std::min(in.size(), static_cast<size_t>(at + kPageBytes - offset));
    std::memcpy(page.data() + (offset - at), in.data(), count);
    offset += static_cast<int64_t>(count);
    in = in.subspan(count);
  }
}

}  // namespace trident
