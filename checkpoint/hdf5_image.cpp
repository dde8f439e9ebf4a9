#include "checkpoint/hdf5_image.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>

#include "core/error.h"

namespace trident::hdf5 {

void Image::read(int64_t offset, std::span<std::byte> out) const {
  std::fill(out.begin(), out.end(), std::byte{0});
  const int64_t end = offset + std::ssize(out);
  for (auto page = pages_.lower_bound(offset / kPageBytes * kPageBytes); page != pages_.end() && page->first < end;
       ++page) {
    const int64_t from = std::max(offset, page->first), to = std::min(end, page->first + kPageBytes);
    std::memcpy(out.data() + (from - offset), page->second.data() + (from - page->first),
                static_cast<size_t>(to - from));
  }
}

void Image::write(int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const int64_t page = offset / kPageBytes * kPageBytes, within = offset - page;
    const auto count = std::min(bytes.size(), static_cast<size_t>(kPageBytes - within));
    std::memcpy(pages_[page].data() + within, bytes.data(), count);
    offset += static_cast<int64_t>(count);
    bytes = bytes.subspan(count);
  }
}

namespace {

// The driver: HDF5 calls it instead of the operating system. HDF5 is C, so no exception may leave a function.

struct OpenImage {
  H5FD_t base;  // must be first: HDF5 knows the driver's files by it
  Image* image;
  haddr_t end_of_allocation;
  haddr_t end_of_file;
};

OpenImage& of(H5FD_t* file) { return *reinterpret_cast<OpenImage*>(file); }
const OpenImage& of(const H5FD_t* file) { return *reinterpret_cast<const OpenImage*>(file); }

struct DriverInfo {
  Image* image;
};

H5FD_t* open_image(const char* /*name*/, unsigned /*flags*/, hid_t access, haddr_t /*largest*/) {
  const auto* info = static_cast<const DriverInfo*>(H5Pget_driver_info(access));
  if (info == nullptr) return nullptr;
  auto file = std::unique_ptr<OpenImage>(new (std::nothrow) OpenImage{});
  if (file == nullptr) return nullptr;
  file->image = info->image;
  return &file.release()->base;
}

herr_t close_image(H5FD_t* file) {
  of(file).image->resize(static_cast<int64_t>(of(file).end_of_allocation));
  delete &of(file);
  return 0;
}

herr_t query(const H5FD_t* /*file*/, unsigned long* flags) {
  if (flags != nullptr)
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

haddr_t end_of_allocation(const H5FD_t* file, H5FD_mem_t /*type*/) { return of(file).end_of_allocation; }

herr_t set_end_of_allocation(H5FD_t* file, H5FD_mem_t /*type*/, haddr_t address) {
  of(file).end_of_allocation = address;
  return 0;
}

haddr_t end_of_file(const H5FD_t* file, H5FD_mem_t /*type*/) { return of(file).end_of_file; }

herr_t read_image(H5FD_t* file, H5FD_mem_t /*type*/, hid_t /*transfer*/, haddr_t address, size_t size, void* buffer) {
  of(file).image->read(static_cast<int64_t>(address), {static_cast<std::byte*>(buffer), size});
  return 0;
}

herr_t write_image(H5FD_t* file, H5FD_mem_t /*type*/, hid_t /*transfer*/, haddr_t address, size_t size,
                   const void* buffer) {
  try {
    of(file).image->write(static_cast<int64_t>(address), {static_cast<const std::byte*>(buffer), size});
  } catch (const std::exception&) {  // no memory
    return -1;
  }
  of(file).end_of_file = std::max(of(file).end_of_file, address + size);
  return 0;
}

herr_t truncate_image(H5FD_t* file, hid_t /*transfer*/, hbool_t /*closing*/) {
  of(file).end_of_file = of(file).end_of_allocation;
  return 0;
}

H5FD_class_t driver_class() {
  H5FD_class_t driver{};
  driver.name = "trident_image";
  driver.maxaddr = static_cast<haddr_t>(INT64_MAX);
  driver.fc_degree = H5F_CLOSE_SEMI;  // closing a file fails while something in it is open
  driver.fapl_size = sizeof(DriverInfo);
  driver.open = open_image;
  driver.close = close_image;
  driver.query = query;
  driver.get_eoa = end_of_allocation;
  driver.set_eoa = set_end_of_allocation;
  driver.get_eof = end_of_file;
  driver.read = read_image;
  driver.write = write_image;
  driver.truncate = truncate_image;
  const H5FD_mem_t map[] = H5FD_FLMAP_DICHOTOMY;
  std::copy(std::begin(map), std::end(map), driver.fl_map);
  return driver;
}

}  // namespace

Handle create_file(Image& image, int64_t align_from) {
  const H5FD_class_t driver_functions = driver_class();
  const Handle driver(H5FDregister(&driver_functions), H5FDunregister, "register the file driver");
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "make file access properties");
  const DriverInfo info{&image};
  require(H5Pset_driver(access.get(), driver.get(), &info), "set the file driver");
  // Version 3 superblocks refuse files whose writer did not close them, and carry checksums.
  require(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110), "set the format version");
  require(H5Pset_alignment(access.get(), static_cast<hsize_t>(align_from), 4096), "set the alignment");
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "make file creation properties");
  require(H5Pset_obj_track_times(creation.get(), false), "leave out times");
  return Handle(H5Fcreate("image", H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose, "create an HDF5 file");
}

}  // namespace trident::hdf5
