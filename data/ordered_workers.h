#pragma once

#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace trident {

/// Threads that work on jobs side by side while results come back in the order in which jobs were given. One thread
/// gives and takes; it bounds memory by taking once pending() is large enough.
template <class Result>
class OrderedWorkers {
 public:
  explicit OrderedWorkers(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  /// Jobs that have not begun are dropped.
  ~OrderedWorkers() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  OrderedWorkers(const OrderedWorkers&) = delete;
  OrderedWorkers& operator=(const OrderedWorkers&) = delete;

  template <class Job>
  void give(Job&& job) {
    std::packaged_task<Result()> task(std::forward<Job>(job));
    results_.push_back(task.get_future());
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(task));
    }
    wake_.notify_one();
  }

  size_t pending() const { return results_.size(); }

  /// Waits for the oldest job. Throws what it threw.
  Result take() {
    auto oldest = std::move(results_.front());
    results_.pop_front();
    return oldest.get();
  }

 private:
  void work() {
    while (true) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      auto task = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::deque<std::packaged_task<Result()>> jobs_;
  std::deque<std::future<Result>> results_;  // of the giving thread alone
  std::vector<std::thread> threads_;
};

}  // namespace trident
