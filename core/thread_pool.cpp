#include "core/thread_pool.h"

#include "core/error.h"

namespace trident {
namespace {

// A worker looks for new work this often before it sleeps: kernels of one step follow each other within microseconds,
// and waking a sleeper costs more than that. Bounded, so that an idle pool burns nothing.
constexpr int kSpins = 4000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  TRIDENT_CHECK(threads >= 1 && threads <= 4096);
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { worker_loop(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_ready_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::parallel_for(int64_t blocks, const std::function<void(int64_t)>& work) {
  if (workers_.empty() || blocks <= 1) {
    for (int64_t block = 0; block < blocks; ++block) work(block);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    work_ = &work;
    blocks_ = blocks;
    failure_ = nullptr;
    next_block_.store(0, std::memory_order_relaxed);
    busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
  }
  work_ready_.notify_all();
  take_blocks();
  for (int spin = 0; spin < kSpins && busy_.load(std::memory_order_acquire) > 0; ++spin) pause();
  std::unique_lock lock(mutex_);
  all_idle_.wait(lock, [this] { return busy_.load(std::memory_order_acquire) == 0; });
  if (failure_) std::rethrow_exception(failure_);
}

void ThreadPool::take_blocks() {
  for (;;) {
    const int64_t block = next_block_.fetch_add(1, std::memory_order_relaxed);
    if (block >= blocks_) return;
    try {
      (*work_)(block);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }
}

void ThreadPool::worker_loop() {
  uint64_t seen = 0;
  for (;;) {
    for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spin) pause();
    {
      std::unique_lock lock(mutex_);
      work_ready_.wait(lock, [&] { return stopping_ || generation_.load(std::memory_order_acquire) != seen; });
      if (stopping_) return;
      seen = generation_.load(std::memory_order_acquire);
    }
    take_blocks();
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      const std::lock_guard lock(mutex_);
      all_idle_.notify_one();
    }
  }
}

}  // namespace trident
