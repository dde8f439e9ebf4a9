#include "parallel/comm/threads/thread_ranks.h"

#include <fmt/format.h>

#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "parallel/comm/threads/thread_backend.h"

namespace trident {
namespace {

constexpr std::chrono::seconds kGrace{20};

std::shared_ptr<ThreadGroup> make_world(int ranks, const ThreadRanksOptions& options) {
  std::vector<RankPlace> places;
  std::vector<int> numbers;
  for (int rank = 0; rank < ranks; ++rank) {
    const int node = options.ranks_per_node > 0 ? rank / options.ranks_per_node : 0;
    places.push_back({node == 0 ? "localhost" : fmt::format("node{}", node), node});
    numbers.push_back(rank);
  }
  return std::make_shared<ThreadGroup>(std::move(places), std::move(numbers), nullptr, options.private_memory);
}

/// How the threads end, and who failed first.
class Outcome {
 public:
  explicit Outcome(int ranks) : running_(ranks) {}

  void failed(int rank, const std::exception_ptr& exception) {
    const std::lock_guard lock(mutex_);
    if (!exception_) exception_ = exception, rank_ = rank;
  }
  void ended() {
    const std::lock_guard lock(mutex_);
    if (--running_ == 0) all_ended_.notify_all();
  }
  bool wait_for_all(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return all_ended_.wait_for(lock, time, [&] { return running_ == 0; });
  }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] const std::exception_ptr& exception() const { return exception_; }

 private:
  std::mutex mutex_;
  std::condition_variable all_ended_;
  int running_;
  int rank_ = -1;
  std::exception_ptr exception_;
};

std::string text_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "unknown exception";
  }
}

void run_rank(int rank, int ranks, const std::shared_ptr<ThreadGroup>& group,
              const std::function<void(Communicator)>& rank_main, const CommOptions& options, Outcome& outcome) {
  try {
    rank_main(ranks == 1 ? Communicator::self("world")
                         : Communicator(std::make_shared<ThreadBackend>(group, rank), "world", options));
  } catch (...) {
    outcome.failed(rank, std::current_exception());
    group->board().post(fmt::format("rank {}: {}", rank, text_of(std::current_exception())));
  }
  outcome.ended();
}

[[noreturn]] void rethrow(const Outcome& outcome, int ranks) {
  const std::string who = fmt::format("rank {} of {}: ", outcome.rank(), ranks);
  try {
    std::rethrow_exception(outcome.exception());
  } catch (const Error& error) {
    throw Error(error.code(), error.component(), who + error.problem(), error.remedy());
  } catch (...) {
    throw Error(ErrorCode::internal, "parallel/comm", who + text_of(outcome.exception()));
  }
}

}  // namespace

void run_ranks(int ranks, const std::function<void(Communicator world)>& rank_main, const ThreadRanksOptions& options) {
  TRIDENT_CHECK(ranks >= 1);
  const auto group = make_world(ranks, options);
  Outcome outcome(ranks);
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back(run_rank, rank, ranks, std::cref(group), std::cref(rank_main), std::cref(options.comm),
                         std::ref(outcome));
  }
  const bool in_time = outcome.wait_for_all(options.watchdog);
  if (!in_time) {
    group->board().post(fmt::format("the run took longer than {} ms", options.watchdog.count()));
    if (!outcome.wait_for_all(kGrace)) {
      log::error("ranks as threads: a rank neither ends nor communicates; ending the process");
      std::abort();
    }
  }
  for (std::thread& thread : threads) thread.join();
  if (outcome.exception()) rethrow(outcome, ranks);
  if (!in_time) throw Error(ErrorCode::peer_lost, "parallel/comm", "the ranks took longer than the watchdog allows");
}

}  // namespace trident
