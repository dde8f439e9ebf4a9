#include "core/thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>

namespace trident {
namespace {

class ThreadPoolTest : public ::testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, EveryBlockRunsOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.size(), GetParam());
  for (int round = 0; round < 300; ++round) {
    std::vector<int> visits(static_cast<size_t>(round % 40));
    pool.parallel_for(static_cast<int64_t>(visits.size()),
                      [&](int64_t block) { ++visits[static_cast<size_t>(block)]; });
    for (const int count : visits) ASSERT_EQ(count, 1);
  }
}

TEST_P(ThreadPoolTest, ABlocksExceptionReachesTheCallerAndThePoolLivesOn) {
  ThreadPool pool(GetParam());
  EXPECT_THROW(pool.parallel_for(16,
                                 [](int64_t block) {
                                   if (block == 5) throw std::runtime_error("five");
                                 }),
               std::runtime_error);
  std::atomic<int> sum = 0;
  pool.parallel_for(16, [&](int64_t block) { sum += static_cast<int>(block); });
  EXPECT_EQ(sum, 120);
}

TEST_P(ThreadPoolTest, WorksAfterItsThreadsFellAsleep) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> count = 0;
    pool.parallel_for(9, [&](int64_t) { ++count; });
    EXPECT_EQ(count, 9);
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, ::testing::Values(1, 2, 3, 8));

}  // namespace
}  // namespace trident
