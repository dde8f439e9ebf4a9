#include "launch/heartbeat_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <limits>
#include <new>
#include <utility>

#include "core/error.h"
#include "launch/heartbeat_slot.h"
#include "launch/unique_descriptor.h"

namespace trident {
namespace {

constexpr const char* kComponent = "launch/heartbeat";
constexpr uint64_t kMagic = 0x3154424854445254;  // "TRDTHBT1" in memory

}  // namespace

struct HeartbeatMemory::Header {
  Cell<uint64_t> magic;  ///< stored last
  int32_t slots;
  int32_t slot_bytes;
  int64_t epoch;
  Cell<int64_t> lease_ns;
};

namespace {

constexpr size_t kHeaderBytes = 128;

size_t segment_bytes(int slots) { return kHeaderBytes + static_cast<size_t>(slots) * sizeof(HeartbeatSlot); }

[[noreturn]] void fail(int error, const char* what, const std::string& name) {
  throw system_error(error, kComponent, fmt::format("cannot {} the heartbeats {}", what, name), "look at /dev/shm");
}

void* map(int descriptor, size_t bytes, const std::string& name) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, descriptor, 0);
  if (memory == MAP_FAILED) fail(errno, "map", name);
  return memory;
}

}  // namespace

HeartbeatMemory HeartbeatMemory::create(const std::string& name, int slots, int64_t epoch) {
  static_assert(sizeof(Header) <= kHeaderBytes);
  remove(name);
  const UniqueDescriptor file(shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0) fail(errno, "make", name);
  const size_t bytes = segment_bytes(slots);
  if (const int error = posix_fallocate(file.get(), 0, static_cast<off_t>(bytes)); error != 0) {
    shm_unlink(name.c_str());
    fail(error, "find room for", name);
  }
  HeartbeatMemory made(map(file.get(), bytes, name), bytes);
  made.header().slots = slots;
  made.header().slot_bytes = static_cast<int32_t>(sizeof(HeartbeatSlot));
  made.header().epoch = epoch;
  put(made.header().lease_ns, std::numeric_limits<int64_t>::max());
  for (int i = 0; i < slots; ++i) {
    HeartbeatSlot& slot = made.slot(i);
    put<int64_t>(slot.resumed, -1), put<int64_t>(slot.done, -1), put<int64_t>(slot.committed, -1);
  }
  made.header().magic.store(kMagic, std::memory_order_release);
  return made;
}

HeartbeatMemory HeartbeatMemory::attach(const std::string& name) {
  const UniqueDescriptor file(shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0600));
  if (file.get() < 0) fail(errno, "open", name);
  struct stat status {};
  if (fstat(file.get(), &status) != 0) fail(errno, "look at", name);
  const auto bytes = static_cast<size_t>(status.st_size);
  if (status.st_uid != geteuid() || (status.st_mode & 077U) != 0 || bytes < kHeaderBytes)
    throw Error(ErrorCode::io, kComponent, name + " is not this user's heartbeats");
  HeartbeatMemory found(map(file.get(), bytes, name), bytes);
  const Header& header = found.header();
  if (header.magic.load(std::memory_order_acquire) != kMagic ||
      header.slot_bytes != static_cast<int32_t>(sizeof(HeartbeatSlot)) || header.slots < 0 ||
      segment_bytes(header.slots) != bytes)
    throw Error(ErrorCode::io, kComponent, name + " is of another version of the program");
  return found;
}

void HeartbeatMemory::remove(const std::string& name) {
  if (shm_unlink(name.c_str()) != 0 && errno != ENOENT) fail(errno, "remove", name);
}

HeartbeatMemory::HeartbeatMemory(HeartbeatMemory&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)), bytes_(other.bytes_) {}

HeartbeatMemory::~HeartbeatMemory() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

HeartbeatMemory::Header& HeartbeatMemory::header() const { return *std::launder(static_cast<Header*>(memory_)); }

int HeartbeatMemory::slots() const { return header().slots; }
int64_t HeartbeatMemory::epoch() const { return header().epoch; }

HeartbeatSlot& HeartbeatMemory::slot(int index) const {
  TRIDENT_CHECK(index >= 0 && index < slots());
  auto* const first = static_cast<std::byte*>(memory_) + kHeaderBytes;
  return *std::launder(reinterpret_cast<HeartbeatSlot*>(first + static_cast<size_t>(index) * sizeof(HeartbeatSlot)));
}

void HeartbeatMemory::extend_lease(int64_t steady_ns) { put(header().lease_ns, steady_ns); }
int64_t HeartbeatMemory::lease() const { return get(header().lease_ns); }

uint64_t HeartbeatMemory::beats(int index) const { return get(slot(index).beats); }

namespace {

GroupRecord read_group(const GroupCells& cells) {
  GroupRecord group;
  group.group = get_text(cells.name);
  group.peer = get(cells.peer);
  group.op = static_cast<CollectiveOp>(std::min<uint32_t>(get(cells.op), 7));
  group.entered = get(cells.entered);
  group.left = get(cells.left);
  group.bytes = get(cells.bytes);
  return group;
}

RankRecord read_once(const HeartbeatSlot& slot) {
  RankRecord record;
  record.state = static_cast<RankRecord::State>(std::min<uint32_t>(get(slot.state), 4));
  record.rank = get(slot.rank);
  record.pid = get(slot.pid);
  record.beats = get(slot.beats);
  record.exit_code = get(slot.exit_code);
  record.signal = get(slot.signal);
  record.ended_ns = get(slot.ended_ns);
  if (record.state == RankRecord::State::failed) record.message = get_text(slot.message);
  if (const uint32_t kind = get(slot.blame_kind); kind > 0)
    record.blame = Blame{static_cast<StateFault::Kind>(std::min<uint32_t>(kind - 1, 1)), get(slot.blame_rank),
                         get(slot.blame_step)};
  record.phase = static_cast<TrainPhase>(std::min<uint32_t>(get(slot.phase), kTrainPhases - 1));
  record.step = get(slot.step);
  record.action = unpack(get(slot.action));
  record.resumed = get(slot.resumed);
  record.done = get(slot.done);
  record.committed = get(slot.committed);
  record.loss_bits = get(slot.loss_bits);
  record.busy_seconds = std::bit_cast<double>(get(slot.busy_bits));
  const size_t groups = std::min<size_t>(get(slot.groups), kHeartbeatGroups);
  for (size_t i = 0; i < groups; ++i) record.groups.push_back(read_group(slot.group[i]));
  if (const uint32_t waits = get(slot.waits_in); waits > 0 && waits <= groups) record.waits_in = waits - 1;
  for (size_t phase = 0; phase < kTrainPhases; ++phase) {
    for (size_t i = 0; i < DurationCounts::kBuckets; ++i)
      record.phases[phase].counts[i] = get(slot.phases[phase].counts[i]);
  }
  return record;
}

}  // namespace

RankRecord HeartbeatMemory::read(int index) const {
  constexpr int kTries = 100;
  const HeartbeatSlot& from = slot(index);
  RankRecord record;
  for (int i = 0; i < kTries; ++i) {
    const uint64_t before = from.version.load(std::memory_order_acquire);
    record = read_once(from);
    if (before % 2 == 0 && get(from.version) == before) break;
  }
  return record;
}

}  // namespace trident
