#include "checkpoint/snapshot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

constexpr const char* kComponent = "checkpoint/snapshot";
constexpr uint64_t kMagic = 0x3150414e53445254;  // "TRDSNAP1"
constexpr int64_t kHeaderBytes = 4096;

struct Descriptor {
  int number = -1;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

int64_t free_shared_memory() {
  struct statvfs status {};
  return statvfs("/dev/shm", &status) == 0 ? static_cast<int64_t>(status.f_bavail * status.f_frsize) : 0;
}

}  // namespace

// At the start of the memory; contents follow, each at a multiple of kHeaderBytes.
struct SnapshotMemory::Header {
  uint64_t magic;
  int64_t bytes;
  uint64_t layout[2];
  int64_t rank, ranks;
  char run_id[64];
  struct Buffer {
    std::atomic<uint64_t> sequence;  ///< odd while it is being filled; 0: never filled
    int64_t step;
    int64_t consumed_samples;
  } buffers[kBuffers];
};

SnapshotMemory::SnapshotMemory(std::string name, const SnapshotIdentity& identity, int64_t bytes)
    : name_(std::move(name)), bytes_(bytes) {
  static_assert(sizeof(Header) <= kHeaderBytes && std::atomic<uint64_t>::is_always_lock_free);
  stride_ = (bytes + kHeaderBytes - 1) / kHeaderBytes * kHeaderBytes;
  mapped_ = static_cast<size_t>(kHeaderBytes + kBuffers * stride_);
  if (name_.empty()) {
    map(-1);
  } else if (attach(identity)) {
    return;
  } else {
    create();
  }
  Header& fresh = header();
  fresh.bytes = bytes;
  fresh.layout[0] = identity.layout.high;
  fresh.layout[1] = identity.layout.low;
  fresh.rank = identity.rank;
  fresh.ranks = identity.ranks;
  std::strncpy(fresh.run_id, identity.run_id.c_str(), sizeof fresh.run_id - 1);
  std::atomic_thread_fence(std::memory_order_release);
  fresh.magic = kMagic;
}

SnapshotMemory::~SnapshotMemory() {
  if (memory_ != nullptr) munmap(memory_, mapped_);
}

// Pages are touched here, once: the first touch is an order of magnitude slower than a copy.
void SnapshotMemory::map(int descriptor) {
  const int flags = descriptor < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* memory = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, descriptor, 0);
  if (memory == MAP_FAILED)
    throw system_error(errno, kComponent, fmt::format("cannot map {} bytes for snapshots", mapped_));
  memory_ = static_cast<std::byte*>(memory);
}

bool SnapshotMemory::attach(const SnapshotIdentity& identity) {
  const Descriptor segment{shm_open(name_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0)};
  if (segment.number < 0) return false;
  struct stat status {};
  if (fstat(segment.number, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid() ||
      status.st_size != static_cast<off_t>(mapped_))
    return false;
  map(segment.number);
  const Header& found = header();
  if (found.magic == kMagic && found.bytes == bytes_ && found.layout[0] == identity.layout.high &&
      found.layout[1] == identity.layout.low && found.rank == identity.rank && found.ranks == identity.ranks &&
      identity.run_id.size() < sizeof found.run_id &&
      std::strncmp(found.run_id, identity.run_id.c_str(), sizeof found.run_id) == 0)
    return true;
  munmap(std::exchange(memory_, nullptr), mapped_);
  return false;
}

void SnapshotMemory::create() {
  shm_unlink(name_.c_str());
  const Descriptor segment{shm_open(name_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (segment.number < 0)
    throw system_error(errno, kComponent, "cannot create shared memory " + name_,
                       "a name is /NAME, without further slashes");
  // Reserved now: a page that is not there would be a bus error later.
  if (const int reason = posix_fallocate(segment.number, 0, static_cast<off_t>(mapped_)); reason != 0) {
    shm_unlink(name_.c_str());
    throw system_error(
        reason, kComponent,
        fmt::format("shared memory {} needs {} bytes, /dev/shm has {} left", name_, mapped_, free_shared_memory()),
        "enlarge /dev/shm, or use fewer ranks on this node");
  }
  map(segment.number);
}

SnapshotMemory::Header& SnapshotMemory::header() const { return *reinterpret_cast<Header*>(memory_); }

std::optional<int64_t> SnapshotMemory::step(int index) const {
  const auto& buffer = header().buffers[index];
  const uint64_t sequence = buffer.sequence.load(std::memory_order_acquire);
  if (sequence == 0 || sequence % 2 == 1) return std::nullopt;
  return buffer.step;
}

int64_t SnapshotMemory::consumed_samples(int index) const { return header().buffers[index].consumed_samples; }

std::span<const std::byte> SnapshotMemory::content(int index) const {
  return {memory_ + kHeaderBytes + index * stride_, static_cast<size_t>(bytes_)};
}

std::span<std::byte> SnapshotMemory::begin_fill(int index) {
  std::atomic<uint64_t>& sequence = header().buffers[index].sequence;
  sequence.store(sequence.load(std::memory_order_relaxed) | 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // the mark is there before the first byte changes
  return {memory_ + kHeaderBytes + index * stride_, static_cast<size_t>(bytes_)};
}

void SnapshotMemory::end_fill(int index, int64_t step, int64_t consumed_samples) {
  auto& buffer = header().buffers[index];
  buffer.step = step;
  buffer.consumed_samples = consumed_samples;
  buffer.sequence.store((buffer.sequence.load(std::memory_order_relaxed) | 1) + 1, std::memory_order_release);
}

void SnapshotMemory::remove(const std::string& name) { shm_unlink(name.c_str()); }

}  // namespace trident
