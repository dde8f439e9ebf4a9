#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace trident {

/// The compute threads of one rank. Work comes in fixed blocks that threads take one after another, so results do not
/// depend on how many threads there are as long as a block's result does not depend on who computes it.
class ThreadPool {
 public:
  /// `threads` counts the caller, which works too: 1 starts no thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls `work(block)` once for every block in [0, blocks) and returns when all are done. The first exception
  /// thrown by a block is rethrown here. One caller at a time; a block must not call parallel_for again.
  void parallel_for(int64_t blocks, const std::function<void(int64_t)>& work);

 private:
  void worker_loop();
  void take_blocks();

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable work_ready_;
  std::condition_variable all_idle_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> busy_{0};
  std::atomic<int64_t> next_block_{0};
  int64_t blocks_ = 0;
  const std::function<void(int64_t)>* work_ = nullptr;
  std::exception_ptr failure_;
  std::atomic<bool> stopping_{false};
};

}  // namespace trident
