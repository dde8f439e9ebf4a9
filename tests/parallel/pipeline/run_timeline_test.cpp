#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "parallel/comm/threads/thread_ranks.h"
#include "parallel/pipeline/executor.h"
#include "parallel/pipeline/lower.h"
#include "parallel/pipeline/render.h"
#include "parallel/pipeline/timeline.h"
#include "tests/parallel/pipeline/drawn_trace.h"

// What a run's timeline shows of every rank.

namespace trident::pipeline {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const Shape kShape{3, 5};
constexpr int64_t kBytes = int64_t{3} * 5 * 8;
constexpr auto kGroup = "pp \"quoted\" \\ \n";

/// Passes a tensor on without computing.
class PassOn final : public Layer {
 public:
  Tensor forward(Context& context, const Tensor&, Saved&) const override { return filled(context); }
  Tensor backward_input(Context& context, const Tensor&, Saved&) const override { return filled(context); }
  void backward_weight(Context&, Saved&) const override {}
  void collect(std::vector<ParameterGroup*>&) override {}

 private:
  static Tensor filled(Context& context) {
    Tensor out = context.activations.allocate(kShape, DType::fp64);
    std::fill_n(out.data<double>(), out.elements(), 1.0);
    return out;
  }
};

/// Two steps of a rank; the second is recorded.
json record(const Communicator& world, const Schedule& lowered, Timeline& timeline) {
  const Communicator pp = world.split(0, world.rank(), kGroup), dp = world.split(0, world.rank(), "dp");
  const PassOn layer;
  std::map<int32_t, Executor::StageLayers> stages;
  for (const int32_t stage : lowered.stages_of(world.rank())) stages[stage] = {&layer, &layer};
  std::vector<double> gradients(12'500);
  std::vector<Pending> reductions;
  ExecutorHooks hooks;
  hooks.weight_gradients_added = [&](StageLayer at, int32_t microbatch) {
    if (at.index == 0 && microbatch + 1 == lowered.microbatches) reductions.push_back(dp.barrier_async());
  };
  hooks.reduce_tied = [&] { gradients[0] += 1; };
  hooks.timeline = &timeline;
  Executor executor(lowered, std::move(stages), pp, kShape, DType::fp64, hooks);
  HeapAllocator heap;
  const std::vector<Microbatch> microbatches(static_cast<size_t>(lowered.microbatches));
  for (const bool recorded : {false, true}) {
    if (recorded) timeline.start();
    const Timeline::Span step(&timeline, "step \"2\"");
    (void)executor.run(Stream::cpu(1), heap, microbatches);
    for (Pending& reduction : reductions) reduction.wait();
    reductions.clear();
    const Timeline::Span norm(&timeline, "gradient norm");
    dp.all_reduce(std::span<double>(gradients));
  }
  timeline.stop();
  dp.barrier();
  return json::parse(to_chrome_trace(timeline, {world.rank(), lowered.stages_of(world.rank()), "dp \"0\""}));
}

/// A trace by rank.
std::vector<json> record(const Schedule& lowered) {
  std::vector<json> traces(static_cast<size_t>(lowered.ranks));
  const auto origin = std::chrono::steady_clock::now();
  run_ranks(lowered.ranks, [&](Communicator world) {
    Timeline timeline({.origin = origin});
    world.set_progress_sink(&timeline);
    traces[static_cast<size_t>(world.rank())] = record(world, lowered, timeline);
  });
  return traces;
}

template <class Condition>
std::vector<Drawn> select(const std::vector<Drawn>& all, Condition condition) {
  std::vector<Drawn> some;
  std::copy_if(all.begin(), all.end(), std::back_inserter(some), condition);
  return some;
}

std::vector<Drawn> of_category(const json& trace, const std::string& category) {
  return select(spans(trace), [&](const Drawn& drawn) { return drawn.category == category; });
}

std::vector<std::string> actions(const std::vector<Drawn>& all) {
  std::vector<std::string> texts;
  texts.reserve(all.size());
  for (const Drawn& drawn : all) texts.push_back(drawn.action);
  return texts;
}

template <class Condition>
std::vector<std::string> actions(const Schedule& schedule, size_t rank, Condition condition) {
  std::vector<std::string> texts;
  for (const Action& action : schedule.actions[rank])
    if (condition(action.op)) texts.push_back(to_string(action));
  return texts;
}

bool is_message(Op op) { return is_send(op) || is_recv(op); }

class RunTimeline : public ::testing::TestWithParam<ScheduleRequest> {
 protected:
  const Schedule lowered_ = lower(make_schedule(GetParam()), {.tied_embedding = true});
  const std::vector<json> traces_ = record(lowered_);
};

TEST_P(RunTimeline, HasEveryActionOnceAndInOrder) {
  for (size_t rank = 0; rank < traces_.size(); ++rank) {
    EXPECT_EQ(actions(of_category(traces_[rank], "compute")),
              actions(lowered_, rank, [](Op op) { return !is_message(op); }));
    for (const bool sends : {true, false}) {
      const auto wanted = actions(lowered_, rank, sends ? is_send : is_recv);
      const auto drawn = select(of_category(traces_[rank], "comm"), [&](const Drawn& d) {
        const auto action = parse_action(d.action);
        return action && (sends ? is_send(action->op) : is_recv(action->op));
      });
      EXPECT_EQ(actions(drawn), wanted);
    }
  }
}

TEST_P(RunTimeline, AnActionsTimeIsItsOwn) {
  for (size_t rank = 0; rank < traces_.size(); ++rank) {
    const auto row =
        select(spans(traces_[rank]), [](const Drawn& d) { return d.category == "compute" || d.category == "wait"; });
    size_t waits = 0;
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      EXPECT_LE(row[i].end, row[i + 1].start + kRounding) << row[i].name;
      EXPECT_EQ(row[i].thread, row[i + 1].thread);
      if (row[i].category != "wait") continue;
      const auto held_up = parse_action(row[i].action);
      ASSERT_TRUE(held_up);
      EXPECT_EQ(row[i].name.substr(0, 5), "wait ");
      if (is_send(held_up->op)) continue;
      ++waits;
      EXPECT_EQ(row[i].action, row[i + 1].action) << "the wait ends where its action begins";
    }
    EXPECT_EQ(waits, actions(lowered_, rank, is_recv).size());
  }
}

TEST_P(RunTimeline, MessagesHaveTheirBytesAndLieSideBySide) {
  std::map<std::string, Drawn> sent, received;
  for (const json& trace : traces_) {
    for (const Drawn& drawn : of_category(trace, "comm")) {
      const auto action = parse_action(drawn.action);
      if (!action) continue;
      EXPECT_EQ(drawn.bytes, kBytes);
      EXPECT_EQ(drawn.group, kGroup);
      EXPECT_FALSE(drawn.unfinished);
      EXPECT_EQ(drawn.name, std::string(op_name(action->op)) + " mb" + std::to_string(action->microbatch));
      if (is_send(action->op)) sent[to_string(receive_of(*action))] = drawn;
      if (is_recv(action->op)) received[to_string(*action)] = drawn;
    }
  }
  ASSERT_EQ(sent.size(), received.size());
  for (const auto& [action, drawn] : received) EXPECT_GE(drawn.end + kRounding, sent.at(action).start) << action;
}

TEST_P(RunTimeline, CollectivesHaveGroupBytesAndSequence) {
  for (size_t rank = 0; lowered_.ranks > 1 && rank < traces_.size(); ++rank) {
    const auto collectives = select(of_category(traces_[rank], "comm"), [](const Drawn& d) { return d.group == "dp"; });
    const size_t stages = lowered_.stages_of(static_cast<int32_t>(rank)).size();
    ASSERT_EQ(collectives.size(), stages + 1);
    EXPECT_EQ(collectives.front().name, "barrier dp");
    EXPECT_EQ(collectives.back().name, "all_reduce dp 100.0 kB");
    EXPECT_EQ(collectives.back().bytes, 100'000);
    EXPECT_EQ(collectives.back().sequence, 2 * (stages + 1)) << "the second step's";
  }
}

TEST_P(RunTimeline, OpensInPerfetto) {
  for (size_t rank = 0; rank < traces_.size(); ++rank) {
    const json& trace = traces_[rank];
    expect_nesting(trace);
    EXPECT_EQ(trace.at("otherData").at("dropped_events"), 0);
    std::map<int, std::string> threads;
    std::string process;
    for (const json& event : trace.at("traceEvents")) {
      EXPECT_EQ(event.at("pid"), rank);
      if (event.at("name") == "process_name") process = event.at("args").at("name");
      if (event.at("name") == "thread_name") threads[event.at("tid")] = event.at("args").at("name");
    }
    EXPECT_THAT(process, HasSubstr("rank " + std::to_string(rank) + " (stage "));
    EXPECT_THAT(process, HasSubstr("; dp \"0\")"));
    EXPECT_FALSE(threads.contains(0));
    for (const Drawn& drawn : spans(trace)) EXPECT_TRUE(threads.contains(drawn.thread)) << drawn.name;
    const auto phases = of_category(trace, "phase");
    ASSERT_EQ(phases.size(), 2U);
    EXPECT_EQ(phases[0].name, "step \"2\"");
    EXPECT_EQ(phases[1].name, "gradient norm");
  }
}

TEST_P(RunTimeline, NamesItsActionsAsTheSimulatedOne) {
  const json simulated = json::parse(to_chrome_trace(lowered_, simulate(lowered_)));
  std::vector<std::string> predicted, measured;
  for (const Drawn& drawn : spans(simulated)) predicted.push_back(drawn.name + " " + drawn.action);
  for (const json& trace : traces_)
    for (const Drawn& drawn : spans(trace))
      if (const auto action = parse_action(drawn.action); action && !is_reduce(action->op) && drawn.category != "wait")
        measured.push_back(drawn.name + " " + drawn.action);
  EXPECT_THAT(measured, testing::UnorderedElementsAreArray(predicted));
}

INSTANTIATE_TEST_SUITE_P(Schedules, RunTimeline,
                         ::testing::Values(ScheduleRequest{"gpipe", 1, 2, 1}, ScheduleRequest{"gpipe", 3, 4, 1},
                                           ScheduleRequest{"1f1b", 4, 6, 1}, ScheduleRequest{"interleaved", 2, 4, 2},
                                           ScheduleRequest{"zb-h1", 3, 5, 1}, ScheduleRequest{"zb-v", 2, 3, 2}),
                         [](const auto& instance) {
                           std::string name = instance.param.name + "_" + std::to_string(instance.param.ranks);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace trident::pipeline
