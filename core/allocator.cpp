#include "core/allocator.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "core/device/runtime.h"

namespace trident {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

size_t tensor_bytes(const Shape& shape, DType dtype) { return static_cast<size_t>(shape.elements()) * size_of(dtype); }

Error out_of_memory(size_t bytes) {
  return {ErrorCode::config, "memory", "the system has no " + std::to_string(bytes >> 20) + " MiB left",
          "lower training.micro_batch_size, set training.recompute, or use more ranks"};
}

}  // namespace

Tensor HeapAllocator::allocate(Shape shape, DType dtype) {
  const size_t bytes = tensor_bytes(shape, dtype);
  if (device_.kind == DeviceKind::meta)
    return {std::make_shared<Buffer>(nullptr, bytes, device_, nullptr), 0, shape, dtype};
  if (device_.kind == DeviceKind::cuda) return {runtime::allocate(device_.index, bytes), 0, shape, dtype};
  void* data = std::aligned_alloc(64, std::max<size_t>(64, round_up(bytes, 64)));
  if (data == nullptr) throw out_of_memory(bytes);
  return {std::make_shared<Buffer>(data, bytes, device_, [](void* pointer) { std::free(pointer); }), 0, shape, dtype};
}

std::shared_ptr<Buffer> map_memory(size_t bytes, Pages pages) {
  const size_t size = std::max(kHugePage, round_up(bytes, kHugePage));
  // One huge page more, so that the start can be aligned to one.
  void* base =
      mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw out_of_memory(bytes);
  const auto address = reinterpret_cast<uintptr_t>(base);
  void* data = static_cast<std::byte*>(base) + (round_up(address, kHugePage) - address);
  madvise(data, size, pages == Pages::huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  return std::make_shared<Buffer>(data, bytes, Device::cpu(), [base, size](void*) { munmap(base, size + kHugePage); });
}

size_t resident_bytes(const Tensor& tensor) {
  if (tensor.raw() == nullptr) return 0;
  if (tensor.device().kind == DeviceKind::cuda) return tensor.bytes();
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(tensor.raw()), end = begin + tensor.bytes();
  const uintptr_t first = begin / page * page;
  std::byte* start = static_cast<std::byte*>(tensor.raw()) - (begin - first);
  std::vector<unsigned char> present((end - first + page - 1) / page);
  if (mincore(start, end - first, present.data()) != 0) return 0;
  size_t bytes = 0;
  for (size_t i = 0; i < present.size(); ++i) {
    if ((present[i] & 1) == 0) continue;
    const uintptr_t from = std::max(begin, first + i * page), to = std::min(end, first + (i + 1) * page);
    bytes += to - from;
  }
  return bytes;
}

ArenaRecorder::ArenaRecorder() : log_(std::make_shared<Log>()) {}

Tensor ArenaRecorder::allocate(Shape shape, DType dtype) {
  const size_t bytes = tensor_bytes(shape, dtype);
  const size_t index = log_->blocks.size();
  log_->blocks.push_back({std::max(ArenaPlan::kAlignment, round_up(bytes, ArenaPlan::kAlignment)), log_->clock++,
                          std::numeric_limits<int64_t>::max(), 0});
  auto release = [log = log_, index](void*) { log->blocks[index].death = log->clock++; };
  return {std::make_shared<Buffer>(nullptr, bytes, Device::meta(), std::move(release)), 0, shape, dtype};
}

ArenaPlan ArenaRecorder::plan() const { return plan_arena(log_->blocks); }

Arena::Arena(ArenaPlan plan, std::shared_ptr<Buffer> memory)
    : plan_(std::move(plan)), memory_(std::move(memory)), live_(std::make_shared<int64_t>(0)) {
  TRIDENT_CHECK(memory_->bytes() >= plan_.total_bytes);
}

void Arena::rewind() {
  TRIDENT_CHECK(*live_ == 0, std::to_string(*live_) + " tensors of the last run are still held");
  next_ = 0;
}

Tensor Arena::allocate(Shape shape, DType dtype) {
  const size_t bytes = tensor_bytes(shape, dtype);
  TRIDENT_CHECK(next_ < plan_.blocks.size(), "allocation that was not planned: " + shape.to_string());
  const ArenaPlan::Block& block = plan_.blocks[next_++];
  TRIDENT_CHECK(std::max(ArenaPlan::kAlignment, round_up(bytes, ArenaPlan::kAlignment)) == block.bytes,
                "allocation differs from the plan: " + shape.to_string());
  ++*live_;
  // The tensor holds on to the memory, so it stays valid even if it outlives the arena.
  auto release = [memory = memory_, live = live_](void*) { --*live; };
  void* data = static_cast<std::byte*>(memory_->data()) + block.offset;
  return {std::make_shared<Buffer>(data, bytes, memory_->device(), std::move(release)), 0, shape, dtype};
}

}  // namespace trident
