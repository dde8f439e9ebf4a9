#include "parallel/comm/mpi/shared_segment.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/error.h"

namespace trident {
namespace {

constexpr size_t kPage = size_t{1} << 12;
constexpr size_t kLargestNumber = 0xffff;

/// A file descriptor that is closed at the end of a scope.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return number_; }

 private:
  int number_;
};

int create_anonymous(size_t bytes) {
  const int file = memfd_create("trident", MFD_CLOEXEC);
  if (file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) != 0) {
    close(file);
    return -1;
  }
  return file;
}

bool everywhere(const MpiComm& node, bool here) {
  int mine = here ? 1 : 0, all = 0;
  TRIDENT_MPI_CALL(MPI_Allreduce, &mine, &all, 1, MPI_INT, MPI_MIN, node.get());
  return all == 1;
}

}  // namespace

std::shared_ptr<SharedSegment> SharedSegment::create(const MpiComm& node, size_t bytes_per_rank) {
  const bool creator = node.rank() == 0;
  const size_t stride = (bytes_per_rank + kPage - 1) / kPage * kPage;
  const size_t bytes = stride * static_cast<size_t>(node.size());

  int origin[2] = {static_cast<int>(getpid()), creator ? create_anonymous(bytes) : -1};
  const Descriptor created(creator ? origin[1] : -1);
  TRIDENT_MPI_CALL(MPI_Bcast, origin, 2, MPI_INT, 0, node.get());
  if (origin[1] < 0) return nullptr;

  // Others open the creator's descriptor, which stays open until all of them have.
  const std::string path = fmt::format("/proc/{}/fd/{}", origin[0], origin[1]);
  const Descriptor opened(creator ? -1 : open(path.c_str(), O_RDWR | O_CLOEXEC));
  const int file = creator ? created.get() : opened.get();
  // Every rank reserves its own part: near its processor, and now, because running out of memory later would be a bus
  // error in the middle of a step.
  const bool reserved =
      file >= 0 && posix_fallocate(file, static_cast<off_t>(stride) * node.rank(), static_cast<off_t>(stride)) == 0;
  void* base = !reserved ? MAP_FAILED : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  std::shared_ptr<SharedSegment> segment;
  if (base != MAP_FAILED) segment.reset(new SharedSegment(static_cast<std::byte*>(base), stride, bytes));
  return everywhere(node, segment != nullptr) ? segment : nullptr;
}

SharedSegment::~SharedSegment() { munmap(base_, bytes_); }

void SharedSegment::populate() const {
#ifdef MADV_POPULATE_WRITE
  madvise(base_, bytes_, MADV_POPULATE_WRITE);  // where the kernel is too old, pages come when they are touched
#endif
}

void SegmentSpace::add(const std::shared_ptr<SharedSegment>& segment) {
  TRIDENT_CHECK(segments_.size() < kLargestNumber, "too many shared allocations in one group");
  segments_.push_back(segment);
}

uint64_t SegmentSpace::publish(const std::byte* data, size_t bytes) const {
  for (size_t i = 0; i < segments_.size(); ++i) {
    const auto segment = segments_[i].lock();
    if (!segment) continue;
    const std::byte* base = segment->part(rank_);
    if (data >= base && data + bytes <= base + segment->stride()) {
      return static_cast<uint64_t>(i + 1) << kOffsetBits | static_cast<uint64_t>(data - base);
    }
  }
  return kPrivate;
}

std::byte* SegmentSpace::resolve(uint64_t word, int peer) const {
  const auto segment = segments_.at(static_cast<size_t>(word >> kOffsetBits) - 1).lock();
  TRIDENT_CHECK(segment != nullptr, "a peer's buffer lies in a shared allocation that is gone here");
  return segment->part(peer) + (word & ((uint64_t{1} << kOffsetBits) - 1));
}

}  // namespace trident
