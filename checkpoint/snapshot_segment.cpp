#include "checkpoint/snapshot_segment.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

constexpr const char* kComponent = "checkpoint/snapshot";

[[noreturn]] void fail(int error, const char* what, const std::string& name, std::string remedy = {}) {
  throw system_error(error, kComponent, fmt::format("cannot {} the shared memory segment {}", what, name),
                     std::move(remedy));
}

double mib(double bytes) { return bytes / (1 << 20); }

}  // namespace

SnapshotSegment::SnapshotSegment(std::string name, size_t bytes, int descriptor)
    : name_(std::move(name)), bytes_(bytes), descriptor_(descriptor) {}

SnapshotSegment::SnapshotSegment(SnapshotSegment&& other) noexcept
    : name_(std::move(other.name_)), bytes_(other.bytes_), descriptor_(std::exchange(other.descriptor_, -1)) {}

SnapshotSegment::~SnapshotSegment() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

SnapshotSegment SnapshotSegment::attach(const std::string& name, size_t bytes) {
  SnapshotSegment segment(name, bytes, shm_open(name.c_str(), O_RDWR | O_NONBLOCK, 0600));
  if (segment.is_open() && segment.own_size() == bytes) {
    segment.reserve();
    return segment;
  }
  remove(name);
  return {name, bytes, -1};
}

SnapshotSegment SnapshotSegment::open(const std::string& name) {
  SnapshotSegment segment(name, 0, shm_open(name.c_str(), O_RDWR | O_NONBLOCK, 0600));
  const auto size = segment.is_open() ? segment.own_size() : std::nullopt;
  if (!size) return {name, 0, -1};
  segment.bytes_ = *size;
  return segment;
}

std::optional<size_t> SnapshotSegment::own_size() const {
  struct stat status {};
  if (fstat(descriptor_, &status) != 0) fail(errno, "look at", name_);
  if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077U) != 0) return std::nullopt;
  return static_cast<size_t>(status.st_size);
}

SnapshotSegment SnapshotSegment::create(const std::string& name, size_t bytes) {
  SnapshotSegment segment(name, bytes, shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
  if (!segment.is_open()) fail(errno, "make", name, "each rank of a run needs a name of its own");
  try {
    segment.reserve();
  } catch (...) {
    shm_unlink(name.c_str());
    throw;
  }
  return segment;
}

void SnapshotSegment::remove(const std::string& name) {
  if (shm_unlink(name.c_str()) != 0 && errno != ENOENT) fail(errno, "remove", name);
}

void SnapshotSegment::reserve() const {
  int error = EINTR;
  while (error == EINTR) error = posix_fallocate(descriptor_, 0, static_cast<off_t>(bytes_));
  if (error == 0) return;
  struct statvfs room {};
  const bool known = fstatvfs(descriptor_, &room) == 0;
  const double free_bytes = known ? static_cast<double>(room.f_bavail) * static_cast<double>(room.f_frsize) : 0;
  throw Error(ErrorCode::io, kComponent,
              fmt::format("the shared memory segment {} needs {:.1f} MiB and {:.1f} MiB are free: {}", name_,
                          mib(static_cast<double>(bytes_)), mib(free_bytes), std::generic_category().message(error)),
              "remove stale segments, enlarge /dev/shm, or keep snapshots in private memory");
}

std::byte* SnapshotSegment::map(Touch touch) const {
  const int flags = touch == Touch::every_page ? MAP_SHARED | MAP_POPULATE : MAP_SHARED;
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, flags, descriptor_, 0);
  if (memory == MAP_FAILED) fail(errno, "map", name_);
  return static_cast<std::byte*>(memory);
}

}  // namespace trident
