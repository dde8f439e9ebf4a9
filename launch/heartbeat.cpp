#include "launch/heartbeat.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <limits>
#include <new>
#include <utility>

#include "core/error.h"

namespace trident {

namespace {

constexpr const char* kComponent = "launch/heartbeat";
constexpr uint64_t kMagic = 0x3154424854445254;  // "TRDTHBT1" in memory
constexpr size_t kGroups = 24;
constexpr size_t kNameWords = 2;
constexpr size_t kMessageWords = 96;

template <class T>
using Cell = std::atomic<T>;

// One thread of one process writes; plain stores are enough.
// Whoever sees a value that was put sees all that was put before it, the odd version of an unfinished update too: so a
// reader that finds the version unchanged has read nothing newer (Boehm, "Can seqlocks get along with programming
// language memory models?", 2012).
template <class T>
void put(Cell<T>& cell, T value) {
  cell.store(value, std::memory_order_release);
}

template <class T>
T get(const Cell<T>& cell) {
  return cell.load(std::memory_order_acquire);
}

template <class T>
void increase(Cell<T>& cell) {
  put(cell, static_cast<T>(get(cell) + 1));
}

template <size_t N>
void put_text(std::array<Cell<uint64_t>, N>& cells, std::string_view text) {
  for (size_t i = 0; i < N; ++i) {
    uint64_t word = 0;
    for (size_t byte = 0; byte < 8 && i * 8 + byte < text.size(); ++byte)
      word |= uint64_t{static_cast<unsigned char>(text[i * 8 + byte])} << (8 * byte);
    put(cells[i], word);
  }
}

template <size_t N>
std::string get_text(const std::array<Cell<uint64_t>, N>& cells) {
  std::string text;
  for (const auto& cell : cells) {
    const uint64_t word = get(cell);
    for (size_t byte = 0; byte < 8; ++byte) {
      const char c = static_cast<char>(word >> (8 * byte) & 0xFFU);
      if (c == '\0') return text;
      text += c;
    }
  }
  return text;
}

int64_t steady_ns() { return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

uint64_t pack(const pipeline::Action& action) {
  return uint64_t{1} << 63 | uint64_t{static_cast<uint8_t>(action.op)} << 52 |
         (static_cast<uint64_t>(action.stage) & 0xFFFFFU) << 32 | static_cast<uint32_t>(action.microbatch);
}

std::optional<pipeline::Action> unpack(uint64_t word) {
  if (word == 0) return std::nullopt;
  return pipeline::Action{static_cast<int32_t>(word >> 32 & 0xFFFFFU), static_cast<pipeline::Op>(word >> 52 & 0xFU),
                          static_cast<int32_t>(static_cast<uint32_t>(word))};
}

struct alignas(64) GroupCells {
  std::array<Cell<uint64_t>, kNameWords> name;
  Cell<int32_t> peer;
  Cell<uint32_t> op;
  Cell<uint64_t> entered;
  Cell<uint64_t> left;
  Cell<int64_t> bytes;
};
static_assert(sizeof(GroupCells) == 64);

struct PhaseCells {
  std::array<Cell<uint32_t>, DurationCounts::kBuckets> counts;
};

}  // namespace

/// Only atomics that need no lock: a lock would be private to the process. Memory starts as zeros, which is what their
/// constructors would make.
struct alignas(128) HeartbeatSlot {
  // What changes many times a step lies in two cache lines of its own.
  Cell<uint64_t> version;  ///< odd: being written
  Cell<uint64_t> beats;
  Cell<int64_t> step;
  Cell<uint64_t> action;
  Cell<uint32_t> phase;
  Cell<uint32_t> waits_in;  ///< number of a group from 1; 0: of none
  Cell<uint32_t> groups;
  alignas(64) Cell<uint32_t> state;
  Cell<int32_t> rank;
  Cell<int64_t> pid;
  Cell<int32_t> exit_code;
  Cell<int32_t> signal;
  Cell<uint32_t> blame_kind;  ///< from 1; 0: none
  Cell<int32_t> blame_rank;
  Cell<int64_t> blame_step;
  Cell<int64_t> ended_ns;
  Cell<int64_t> resumed;
  Cell<int64_t> done;
  Cell<int64_t> committed;
  Cell<uint64_t> loss_bits;
  Cell<uint64_t> busy_bits;
  std::array<GroupCells, kGroups> group;
  std::array<PhaseCells, kTrainPhases> phases;
  std::array<Cell<uint64_t>, kMessageWords> message;
};
static_assert(Cell<uint64_t>::is_always_lock_free && Cell<uint32_t>::is_always_lock_free);

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

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return value_; }

 private:
  int value_;
};

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
  const Descriptor file(shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
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
  const Descriptor file(shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0600));
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
  const size_t groups = std::min<size_t>(get(slot.groups), kGroups);
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

/// A change that readers see whole. Not while a signal handler is about to make one.
class Heartbeat::Update {
 public:
  explicit Update(HeartbeatSlot& slot) : slot_(slot), version_(get(slot.version) | 1U) {
    put(slot_.version, version_);
    increase(slot_.beats);
  }
  ~Update() { slot_.version.store(version_ + 1, std::memory_order_release); }
  Update(const Update&) = delete;
  Update& operator=(const Update&) = delete;

 private:
  HeartbeatSlot& slot_;
  uint64_t version_;
};

Heartbeat::Heartbeat(HeartbeatMemory memory, int slot, int rank)
    : memory_(std::move(memory)), slot_(memory_.slot(slot)), phase_began_(steady_ns()) {
  known_.reserve(kGroups);
  const Update update(slot_);
  put(slot_.rank, rank);
  put<int64_t>(slot_.pid, getpid());
  put(slot_.state, static_cast<uint32_t>(RankRecord::State::running));
}

void Heartbeat::end_phase() {
  const int64_t now = steady_ns();
  const size_t bucket = DurationCounts::bucket_of(now - std::exchange(phase_began_, now));
  increase(slot_.phases[static_cast<size_t>(phase_)].counts[bucket]);
}

void Heartbeat::phase(TrainPhase phase, int64_t step) {
  const Update update(slot_);
  end_phase();
  phase_ = phase;
  put(slot_.phase, static_cast<uint32_t>(phase));
  put(slot_.step, step);
  put<uint64_t>(slot_.action, 0);
}

void Heartbeat::action(const pipeline::Action& action) {
  const Update update(slot_);
  put(slot_.action, pack(action));
}

void Heartbeat::resumed(int64_t step) {
  const Update update(slot_);
  put(slot_.resumed, step);
}

void Heartbeat::step_done(int64_t step, double loss, double busy_seconds) {
  const Update update(slot_);
  put(slot_.done, step);
  put(slot_.loss_bits, std::bit_cast<uint64_t>(loss));
  put(slot_.busy_bits, std::bit_cast<uint64_t>(busy_seconds));
}

void Heartbeat::committed(int64_t step) {
  const Update update(slot_);
  put(slot_.committed, step);
}

// A group's name stays where it is as long as the group lives, so that its address is enough.
std::optional<size_t> Heartbeat::group_of(const ProgressRecord& record) {
  const bool send = record.op == CollectiveOp::send;
  for (size_t i = 0; i < known_.size(); ++i) {
    if (known_[i].name == record.group.data() && known_[i].peer == record.peer && known_[i].send == send) return i;
  }
  if (known_.size() == kGroups) return std::nullopt;
  const size_t number = known_.size();
  known_.push_back({record.group.data(), record.peer, send});
  put_text(slot_.group[number].name, record.group);
  put(slot_.group[number].peer, record.peer);
  put(slot_.groups, static_cast<uint32_t>(known_.size()));
  return number;
}

void Heartbeat::entered(const ProgressRecord& record) {
  const Update update(slot_);
  const auto number = group_of(record);
  if (!number) return;
  GroupCells& group = slot_.group[*number];
  put(group.op, static_cast<uint32_t>(record.op));
  put(group.bytes, record.bytes);
  increase(group.entered);
}

void Heartbeat::left(const ProgressRecord& record) {
  const Update update(slot_);
  if (const auto number = group_of(record)) increase(slot_.group[*number].left);
}

void Heartbeat::waits(const ProgressRecord& record) {
  const Update update(slot_);
  if (const auto number = group_of(record)) put(slot_.waits_in, static_cast<uint32_t>(*number + 1));
}

void Heartbeat::waited(const ProgressRecord& record) {
  (void)record;
  const Update update(slot_);
  put<uint32_t>(slot_.waits_in, 0);
}

void Heartbeat::finished(int exit_code) {
  const Update update(slot_);
  put(slot_.exit_code, exit_code);
  put(slot_.ended_ns, steady_ns());
  put(slot_.state, static_cast<uint32_t>(RankRecord::State::finished));
}

void Heartbeat::failed(int exit_code, std::string_view message, std::optional<Blame> blame) {
  const Update update(slot_);
  put(slot_.exit_code, exit_code);
  put(slot_.ended_ns, steady_ns());
  put_text(slot_.message, message);
  if (blame) {
    put(slot_.blame_rank, blame->rank);
    put(slot_.blame_step, blame->step);
    put(slot_.blame_kind, static_cast<uint32_t>(blame->kind) + 1);
  }
  put(slot_.state, static_cast<uint32_t>(RankRecord::State::failed));
}

// The signal may have come in the middle of an update: the version is left alone.
void Heartbeat::crashed(int signal) noexcept {
  put(slot_.signal, signal);
  put(slot_.ended_ns, steady_ns());
  put(slot_.state, static_cast<uint32_t>(RankRecord::State::crashed));
}

size_t DurationCounts::bucket_of(int64_t nanoseconds) {
  if (nanoseconds < 2) return 0;
  const auto value = static_cast<uint64_t>(nanoseconds);
  const auto width = static_cast<size_t>(std::bit_width(value));
  return std::min<size_t>(2 * (width - 1) + (value >> (width - 2) & 1U), kBuckets - 1);
}

double DurationCounts::upper_seconds(size_t bucket) {
  const double lower = static_cast<double>(uint64_t{1} << std::min<size_t>(bucket / 2, 62));
  return 1e-9 * lower * (bucket % 2 == 0 ? 1.5 : 2.0);
}

uint64_t DurationCounts::total() const {
  uint64_t sum = 0;
  for (const uint32_t count : counts) sum += count;
  return sum;
}

double DurationCounts::quantile(double share) const {
  const uint64_t all = total();
  if (all == 0) return 0;
  uint64_t below = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    below += counts[i];
    if (static_cast<double>(below) >= share * static_cast<double>(all)) return upper_seconds(i);
  }
  return upper_seconds(kBuckets - 1);
}

void DurationCounts::add(const DurationCounts& other) {
  for (size_t i = 0; i < kBuckets; ++i) counts[i] += other.counts[i];
}

}  // namespace trident
