#include "checkpoint/snapshot_view.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <new>
#include <system_error>
#include <utility>

#include "checkpoint/manifest.h"
#include "checkpoint/snapshot_header.h"
#include "checkpoint/snapshot_segment.h"
#include "core/error.h"

namespace trident {
namespace {

constexpr uint64_t kMagic = 0x50414e53444e5254;  // "TRNDSNAP" in memory
constexpr uint32_t kFormat = 3;
constexpr size_t kPage = 4096;
constexpr int64_t kMostBytes = int64_t{1} << 46;

size_t round_to_pages(int64_t bytes) { return (static_cast<size_t>(bytes) + kPage - 1) / kPage * kPage; }

SnapshotFacts facts_of(const SnapshotIdentity& identity, int64_t bytes, int buffers) {
  SnapshotFacts facts;
  TRIDENT_CHECK(identity.run_id.size() < facts.run_id.size(), identity.run_id);
  const Hash128 description = hash_bytes(identity.description);
  facts.format = kFormat;
  facts.rank = identity.rank;
  facts.ranks = identity.ranks;
  facts.buffers = buffers;
  facts.layout_high = identity.layout.high;
  facts.layout_low = identity.layout.low;
  facts.bytes = bytes;
  facts.description_bytes = std::ssize(identity.description);
  facts.description_high = description.high;
  facts.description_low = description.low;
  identity.run_id.copy(facts.run_id.data(), identity.run_id.size());
  return facts;
}

bool is_plausible(const SnapshotFacts& facts) {
  const auto within = [](int64_t value, int64_t least, int64_t most) { return value >= least && value <= most; };
  return facts.format == kFormat && within(facts.rank, 0, int64_t{facts.ranks} - 1) &&
         within(facts.buffers, 1, SnapshotView::kMostBuffers) && within(facts.bytes, 0, kMostBytes) &&
         within(facts.description_bytes, 0, Manifest::kMaxBytes) && facts.run_id.back() == '\0';
}

}  // namespace

size_t SnapshotView::Shape::buffer_begin(int index) const {
  const size_t buffer = round_to_pages(bytes) + round_to_pages(hash_blocks(bytes) * 8);
  return kPage + round_to_pages(description_bytes) + static_cast<size_t>(index) * buffer;
}

std::optional<SnapshotView> SnapshotView::open(const std::string& name) {
  const SnapshotSegment segment = SnapshotSegment::open(name);
  if (segment.bytes() < kPage) return std::nullopt;
  // Only the header's page is sure to be there until its numbers are known to fit the size.
  std::byte* const memory = segment.map(SnapshotSegment::Touch::none);
  SnapshotView view(memory, {.bytes = static_cast<int64_t>(segment.bytes() - kPage), .buffers = 1});
  const auto unmap = [&] {
    munmap(memory, segment.bytes());
    view.memory_ = nullptr;
  };
  static_assert(sizeof(Header) <= kPage);
  const SnapshotFacts& facts = view.header().facts;
  if (view.header().magic.load(std::memory_order_acquire) != kMagic || !is_plausible(facts)) {
    unmap();
    return std::nullopt;
  }
  view.shape_ = {facts.bytes, facts.description_bytes, facts.buffers};
  if (view.shape_.mapped() != segment.bytes() || !view.is_of(view.identity())) {
    unmap();
    return std::nullopt;
  }
  return view;
}

SnapshotView::SnapshotView(SnapshotView&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)), shape_(other.shape_) {}

SnapshotView& SnapshotView::operator=(SnapshotView&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(shape_, other.shape_);
  return *this;
}

SnapshotView::~SnapshotView() {
  if (memory_ != nullptr) munmap(memory_, shape_.mapped());
}

SnapshotView::Header& SnapshotView::header() const {
  // Nothing constructs it: what an earlier process left must stay, and zero pages are what its constructor would make.
  return *std::launder(reinterpret_cast<Header*>(memory_));
}

std::byte* SnapshotView::buffer(int index) const {
  TRIDENT_CHECK(index >= 0 && index < shape_.buffers);
  return memory_ + shape_.buffer_begin(index);
}

SnapshotIdentity SnapshotView::identity() const {
  const SnapshotFacts& facts = header().facts;
  return {facts.run_id.data(), facts.rank, facts.ranks, Hash128{facts.layout_high, facts.layout_low},
          std::string(reinterpret_cast<const char*>(memory_ + kPage), static_cast<size_t>(facts.description_bytes))};
}

void SnapshotView::write_header(const SnapshotIdentity& identity) {
  header().facts = facts_of(identity, shape_.bytes, shape_.buffers);
  identity.description.copy(reinterpret_cast<char*>(memory_ + kPage), identity.description.size());
  header().magic.store(kMagic, std::memory_order_release);
}

bool SnapshotView::is_of(const SnapshotIdentity& identity) const {
  const SnapshotFacts expected = facts_of(identity, shape_.bytes, shape_.buffers);
  return header().magic.load(std::memory_order_acquire) == kMagic &&
         std::memcmp(&header().facts, &expected, sizeof(expected)) == 0 &&
         std::memcmp(memory_ + kPage, identity.description.data(), identity.description.size()) == 0;
}

std::optional<SnapshotSeal> SnapshotView::seal(int index) const {
  TRIDENT_CHECK(index >= 0 && index < shape_.buffers);
  const SnapshotFill& fill = header().fills[static_cast<size_t>(index)];
  const uint64_t before = fill.sequence.load(std::memory_order_acquire);
  const SnapshotSeal seal{fill.step.load(std::memory_order_acquire),
                          fill.consumed_samples.load(std::memory_order_acquire),
                          fill.gang.load(std::memory_order_acquire)};
  if (before == 0 || before % 2 != 0 || seal.step < 0) return std::nullopt;
  if (fill.sequence.load(std::memory_order_relaxed) != before) return std::nullopt;
  return seal;
}

std::optional<int64_t> SnapshotView::step(int index) const {
  const auto sealed = seal(index);
  return sealed ? std::optional(sealed->step) : std::nullopt;
}

std::span<const std::byte> SnapshotView::content(int index) const {
  return {buffer(index), static_cast<size_t>(shape_.bytes)};
}

std::span<const uint64_t> SnapshotView::block_hashes(int index) const {
  return {reinterpret_cast<const uint64_t*>(buffer(index) + round_to_pages(shape_.bytes)),
          static_cast<size_t>(hash_blocks(shape_.bytes))};
}

uint64_t SnapshotView::hash_of(const SnapshotSeal& seal, std::span<const uint64_t> block_hashes) {
  std::vector<uint64_t> words{static_cast<uint64_t>(seal.step), static_cast<uint64_t>(seal.consumed_samples),
                              seal.gang};
  words.insert(words.end(), block_hashes.begin(), block_hashes.end());
  return hash_block(std::as_bytes(std::span(words)));
}

std::optional<CheckpointProblem> SnapshotView::problem_with(int index) const {
  const auto sealed = seal(index);
  if (!sealed) return CheckpointProblem{.detail = "it is not whole", .missing = true};
  const auto hashes = block_hashes(index);
  if (hash_of(*sealed, hashes) != header().fills[static_cast<size_t>(index)].hash.load(std::memory_order_acquire))
    return CheckpointProblem{.detail = "its step or its table of hashes is not what was sealed"};
  const auto bytes = content(index);
  for (size_t block = 0; block < hashes.size(); ++block) {
    const size_t begin = block * static_cast<size_t>(kHashBlockBytes);
    const uint64_t found =
        hash_block(bytes.subspan(begin, std::min(bytes.size() - begin, static_cast<size_t>(kHashBlockBytes))));
    if (found != hashes[block])
      return CheckpointProblem{
          .block = static_cast<int64_t>(block),
          .detail = fmt::format("the block's hash is {:016x}, expected {:016x}", found, hashes[block])};
  }
  return std::nullopt;
}

void SnapshotView::clear_after(int64_t step) {
  for (int index = 0; index < shape_.buffers; ++index) {
    auto& sequence = header().fills[static_cast<size_t>(index)].sequence;
    if (this->step(index).value_or(-1) > step) sequence.store(0, std::memory_order_release);
  }
}

bool SnapshotView::release_but(int64_t step) {
  bool kept = false;
  for (int index = 0; index < shape_.buffers; ++index) {
    if (this->step(index) == step) {
      kept = true;
      continue;
    }
    header().fills[static_cast<size_t>(index)].sequence.store(0, std::memory_order_release);
    const size_t count = shape_.buffer_begin(index + 1) - shape_.buffer_begin(index);
    if (count > 0) madvise(buffer(index), count, MADV_REMOVE);  // a failure leaves memory in use, no more
  }
  return kept;
}

void SnapshotView::keep(const std::array<int64_t, kMostKept>& steps) {
  for (size_t i = 0; i < steps.size(); ++i) header().kept[i].store(steps[i] + 1, std::memory_order_relaxed);
}

std::array<int64_t, SnapshotView::kMostKept> SnapshotView::kept() const {
  std::array<int64_t, kMostKept> steps{};
  for (size_t i = 0; i < steps.size(); ++i) steps[i] = header().kept[i].load(std::memory_order_relaxed) - 1;
  return steps;
}

std::vector<std::string> shared_memory_names(const std::string& prefix) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm", ignored)) {
    std::string name = entry.path().filename().string();
    if (name.starts_with(prefix)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace trident
