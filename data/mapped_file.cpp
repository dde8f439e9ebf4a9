#include "data/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

constexpr const char* component = "data/mapped_file";

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer; it is refused below.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) throw system_error(errno, component, "cannot open " + path);
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) throw system_error(errno, component, "cannot look at " + path);
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::bad_data, component, path + ": not a regular file", "name a file, not a folder or device");
  }
  if (status.st_size == 0) return;
  void* address = ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_SHARED, file.fd, 0);
  if (address == MAP_FAILED) throw system_error(errno, component, "cannot map " + path);
  data_ = static_cast<std::byte*>(address);
  size_ = status.st_size;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, static_cast<size_t>(size_));
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  MappedFile taken(std::move(other));
  std::swap(data_, taken.data_);
  std::swap(size_, taken.size_);
  return *this;
}

void MappedFile::advise(Access access) const {
  if (data_ == nullptr) return;
  ::madvise(data_, static_cast<size_t>(size_), access == Access::random ? MADV_RANDOM : MADV_SEQUENTIAL);
}

}  // namespace trident
