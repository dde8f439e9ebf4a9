#include "checkpoint/snapshot_writer.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

#include "checkpoint/stream_copy.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/signals_blocked.h"

namespace trident {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Pieces of state are hashed first and copied while they lie in the cache of second level.
constexpr int64_t kCachedBytes = int64_t{128} << 10;
// A GPU copies ahead while the host hashes what has come.
constexpr int64_t kDeviceBytes = int64_t{32} << 20;

std::vector<CopyPiece> by_place(std::vector<CopyPiece> pieces) {
  std::sort(pieces.begin(), pieces.end(),
            [](const CopyPiece& a, const CopyPiece& b) { return a.to != b.to ? a.to < b.to : a.bytes < b.bytes; });
  return pieces;
}

}  // namespace

SnapshotWriter::SnapshotWriter(SnapshotMemory& memory, std::vector<CopyPiece> pieces, Write write, CopyOn copy_on,
                               const Stream& stream, uint64_t gang)
    : memory_(memory),
      pieces_(by_place(std::move(pieces))),
      write_(std::move(write)),
      copy_on_(copy_on),
      stream_(stream),
      side_(stream.side()),
      gang_(gang) {
  int64_t end = 0;
  for (const CopyPiece& piece : pieces_) {
    TRIDENT_CHECK(piece.bytes >= 0 && piece.to >= end && piece.bytes <= memory.bytes() &&
                  piece.to <= memory.bytes() - piece.bytes);
    end = piece.to + piece.bytes;
  }
  const SignalsBlocked blocked;
  if (copy_on == CopyOn::own_thread) {
    copier_ = std::jthread([this](const std::stop_token& stop) { copy_loop(stop); });
  }
  writer_ = std::jthread([this](const std::stop_token& stop) { write_loop(stop); });
}

bool SnapshotWriter::snapshot(int64_t step, int64_t consumed_samples, bool write) {
  TRIDENT_CHECK(awaited_, "wait_copied() comes between two snapshots");
  TRIDENT_CHECK(step >= 0 && consumed_samples >= 0);
  const auto start = Clock::now();
  Copy next{.step = step, .consumed_samples = consumed_samples};
  state_ready_.record(stream_);
  {
    const std::lock_guard lock(mutex_);
    const auto buffer = free_buffer();
    if (!buffer) return false;
    next.buffer = *buffer;
    for (const Kept& kept : kept_) TRIDENT_CHECK(kept.step != step, "this step is being written");
    if (write) kept_.push_back({.step = step, .buffer = *buffer});
    copying_ = next;
    awaited_ = false;
  }
  if (copy_on_ == CopyOn::training_thread) {
    copy(next);
  } else {
    changed_.notify_all();
  }
  stood_still_ = seconds_since(start);
  return true;
}

double SnapshotWriter::wait_copied() {
  const auto start = Clock::now();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !copying_; });
  awaited_ = true;
  return std::exchange(stood_still_, 0) + seconds_since(start);
}

std::optional<SnapshotWriter::Outcome> SnapshotWriter::finished() {
  const std::lock_guard lock(mutex_);
  Kept* kept = oldest_unreported();
  if (kept == nullptr || !kept->outcome) return std::nullopt;
  kept->reported = true;
  return kept->outcome;
}

bool SnapshotWriter::wait_finished(std::chrono::duration<double> limit) {
  std::unique_lock lock(mutex_);
  const Kept* kept = oldest_unreported();
  if (kept == nullptr) return false;
  // Only this thread adds to kept_ and removes from it.
  const auto ended = [kept] { return kept->outcome.has_value(); };
  if (limit != kForever) return changed_.wait_for(lock, limit, ended);
  changed_.wait(lock, ended);
  return true;
}

void SnapshotWriter::release(int64_t step) {
  const std::lock_guard lock(mutex_);
  const auto kept = std::find_if(kept_.begin(), kept_.end(), [step](const Kept& k) { return k.step == step; });
  TRIDENT_CHECK(kept != kept_.end() && kept->reported, "only a write that finished() has reported is released");
  kept_.erase(kept);
}

std::vector<int64_t> SnapshotWriter::pending() const {
  const std::lock_guard lock(mutex_);
  std::vector<int64_t> steps;
  for (const Kept& kept : kept_) steps.push_back(kept.step);
  return steps;
}

std::optional<int> SnapshotWriter::free_buffer() const {
  const auto kept = [this](int buffer) {
    return std::any_of(kept_.begin(), kept_.end(), [buffer](const Kept& k) { return k.buffer == buffer; });
  };
  std::vector<int> free;
  for (int buffer = 0; buffer < memory_.buffers(); ++buffer) {
    if (!kept(buffer)) free.push_back(buffer);
  }
  // Two take the newest states by turns; only beyond that may others be left for their copies on another node.
  for (const int64_t step : memory_.kept()) {
    if (free.size() > 2) std::erase_if(free, [&](int buffer) { return memory_.step(buffer) == step; });
  }
  const auto oldest =
      std::min_element(free.begin(), free.end(), [this](int a, int b) { return memory_.step(a) < memory_.step(b); });
  return oldest == free.end() ? std::nullopt : std::optional(*oldest);
}

SnapshotWriter::Kept* SnapshotWriter::oldest_unreported() {
  const auto kept = std::find_if(kept_.begin(), kept_.end(), [](const Kept& k) { return !k.reported; });
  return kept == kept_.end() ? nullptr : &*kept;
}

SnapshotWriter::Kept* SnapshotWriter::next_to_write() {
  const auto kept = std::find_if(kept_.begin(), kept_.end(), [](const Kept& k) { return !k.outcome; });
  if (kept == kept_.end()) return nullptr;
  const bool being_copied = copying_ && copying_->buffer == kept->buffer;
  return being_copied ? nullptr : &*kept;
}

void SnapshotWriter::copy(const Copy& copy) {
  const auto to = memory_.begin_fill(copy.buffer);
  const bool on_gpu = stream_.device().kind == DeviceKind::cuda;
  if (on_gpu) {
    // Not before there is a snapshot: pinning takes all of its pages.
    auto& pinned = pinned_[static_cast<size_t>(copy.buffer)];
    if (!std::exchange(pinned.tried, true)) pinned.lock = pin_memory(to);
  }
  const BlockHashes hashes = on_gpu ? copy_from_device(to) : copy_from_host(to);
  memory_.end_fill(copy.buffer, {copy.step, copy.consumed_samples, gang_}, hashes);
  {
    const std::lock_guard lock(mutex_);
    copying_.reset();
  }
  changed_.notify_all();
}

BlockHashes SnapshotWriter::copy_from_host(std::span<std::byte> to) const {
  BlockHasher hasher;
  int64_t at = 0;
  const auto pass_gap = [&](int64_t end) {
    hasher.update(to.subspan(static_cast<size_t>(at), static_cast<size_t>(end - at)));
    at = end;
  };
  for (const CopyPiece& piece : pieces_) {
    pass_gap(piece.to);
    for (int64_t done = 0; done < piece.bytes;) {
      const int64_t count = std::min(kCachedBytes, piece.bytes - done);
      const std::span part(piece.from + done, static_cast<size_t>(count));
      hasher.update(part);
      stream_copy(to.subspan(static_cast<size_t>(at)), part);
      done += count;
      at += count;
    }
  }
  pass_gap(std::ssize(to));
  return hasher.finish();
}

BlockHashes SnapshotWriter::copy_from_device(std::span<std::byte> to) const {
  struct Part {
    int64_t end = 0;
    Event there{};
  };
  std::vector<Part> parts;
  const auto end_part = [&](int64_t end) { parts.emplace_back().end = end, parts.back().there.record(side_); };
  state_ready_.wait(side_);
  int64_t begun = 0;
  for (const CopyPiece& piece : pieces_) {
    for (int64_t done = 0; done < piece.bytes;) {
      const int64_t count = std::min(kDeviceBytes, piece.bytes - done);
      copy_bytes(side_, to.data() + piece.to + done, piece.from + done, static_cast<size_t>(count));
      done += count;
      if (piece.to + done - begun < kDeviceBytes) continue;
      begun = piece.to + done;
      end_part(begun);
    }
  }
  end_part(std::ssize(to));
  BlockHasher hasher;
  int64_t at = 0;
  for (const Part& part : parts) {
    part.there.synchronize();
    hasher.update(to.subspan(static_cast<size_t>(at), static_cast<size_t>(part.end - at)));
    at = part.end;
  }
  return hasher.finish();
}

void SnapshotWriter::copy_loop(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "snapshot-copy");
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return copying_.has_value(); })) {
    const Copy next = *copying_;
    lock.unlock();
    copy(next);
    lock.lock();
  }
}

void SnapshotWriter::write_loop(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "snapshot-write");
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return next_to_write() != nullptr; }) && !stop.stop_requested()) {
    const Kept kept = *next_to_write();
    lock.unlock();
    Outcome outcome = write(kept.step, kept.buffer);
    lock.lock();
    // Still the first that has no outcome: only what has one is released.
    next_to_write()->outcome = std::move(outcome);
    changed_.notify_all();
  }
}

SnapshotWriter::Outcome SnapshotWriter::write(int64_t step, int buffer) const noexcept {
  Outcome outcome{.step = step};
  const auto start = Clock::now();
  try {
    write_(step, memory_.content(buffer));
  } catch (const std::exception& error) {
    outcome.error = error.what();
    if (outcome.error.empty()) outcome.error = "unknown error";
  } catch (...) {
    outcome.error = "unknown error";
  }
  outcome.seconds = seconds_since(start);
  return outcome;
}

}  // namespace trident
