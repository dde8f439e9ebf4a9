#include "checkpoint/snapshot_writer.h"

#include <pthread.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <exception>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

// Signals are the training thread's business: a thread inherits what is blocked where it is made.
std::thread quiet_thread(const char* name, std::function<void()> work) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(work));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread.native_handle(), name);
  return thread;
}

}  // namespace

SnapshotWriter::SnapshotWriter(SnapshotMemory& memory, std::vector<CopyPiece> pieces, Write write)
    : memory_(memory),
      pieces_(std::move(pieces)),
      write_(std::move(write)),
      copier_(quiet_thread("snapshot copy", [this] { copy_loop(); })),
      writer_(quiet_thread("snapshot write", [this] { write_loop(); })) {}

SnapshotWriter::~SnapshotWriter() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  copier_.join();
  writer_.join();
}

bool SnapshotWriter::snapshot(int64_t step, int64_t consumed_samples, bool write) {
  (void)wait_copied();
  const std::lock_guard lock(mutex_);
  const int index = free_buffer();
  if (index < 0) return false;
  buffers_[static_cast<size_t>(index)] = {Use::copying, write, step, consumed_samples, ++turns_, {}};
  changed_.notify_all();
  return true;
}

// The one whose state is older: the newest whole state is the last to be given up.
int SnapshotWriter::free_buffer() const { return oldest(Use::free); }

int SnapshotWriter::oldest(Use use) const {
  int found = -1;
  for (int i = 0; i < SnapshotMemory::kBuffers; ++i) {
    const Buffer& buffer = buffers_[static_cast<size_t>(i)];
    if (buffer.use == use && (found < 0 || buffer.turn < buffers_[static_cast<size_t>(found)].turn)) found = i;
  }
  return found;
}

double SnapshotWriter::wait_copied() {
  std::unique_lock lock(mutex_);
  if (oldest(Use::copying) < 0) return 0;
  const auto start = std::chrono::steady_clock::now();
  changed_.wait(lock, [this] { return oldest(Use::copying) < 0; });
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::optional<SnapshotWriter::Outcome> SnapshotWriter::finished() const {
  const std::lock_guard lock(mutex_);
  const int index = oldest(Use::written);
  if (index < 0) return std::nullopt;
  const Buffer& buffer = buffers_[static_cast<size_t>(index)];
  return Outcome{buffer.step, buffer.error};
}

void SnapshotWriter::release(int64_t step) {
  const std::lock_guard lock(mutex_);
  const int index = oldest(Use::written);
  TRIDENT_CHECK(index >= 0 && buffers_[static_cast<size_t>(index)].step == step,
                "released in order, once it has ended");
  buffers_[static_cast<size_t>(index)].use = Use::free;
}

void SnapshotWriter::copy(int index) {
  int64_t step = 0, samples = 0;
  {
    const std::lock_guard lock(mutex_);
    step = buffers_[static_cast<size_t>(index)].step;
    samples = buffers_[static_cast<size_t>(index)].consumed_samples;
  }
  const std::span<std::byte> content = memory_.begin_fill(index);
  for (const CopyPiece& piece : pieces_)
    std::memcpy(content.data() + piece.to, piece.from, static_cast<size_t>(piece.bytes));
  memory_.end_fill(index, step, samples);
}

void SnapshotWriter::copy_loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || oldest(Use::copying) >= 0; });
    const int index = oldest(Use::copying);
    if (index < 0) return;  // what was asked for is copied even at the end
    lock.unlock();
    copy(index);
    lock.lock();
    Buffer& buffer = buffers_[static_cast<size_t>(index)];
    buffer.use = buffer.write ? Use::waiting : Use::free;
    changed_.notify_all();
  }
}

std::string SnapshotWriter::write(int64_t step, int index) const {
  try {
    write_(step, memory_.content(index));
    return {};
  } catch (const std::exception& error) {
    return *error.what() == '\0' ? "unknown error" : error.what();
  } catch (...) {
    return "unknown error";
  }
}

void SnapshotWriter::write_loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || oldest(Use::waiting) >= 0; });
    if (ending_) return;
    const int index = oldest(Use::waiting);
    Buffer& buffer = buffers_[static_cast<size_t>(index)];
    buffer.use = Use::writing;
    const int64_t step = buffer.step;
    lock.unlock();
    std::string error = write(step, index);
    lock.lock();
    buffer.error = std::move(error);
    buffer.use = Use::written;
    changed_.notify_all();
  }
}

}  // namespace trident
