#include "parallel/pipeline/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <string>

#include "core/error.h"
#include "parallel/pipeline/lower.h"
#include "parallel/pipeline/schedules.h"

namespace trident::pipeline {
namespace {

using testing::HasSubstr;
using testing::Not;

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

TEST(Svg, DrawsEveryActionAndTransferOnce) {
  const Schedule lowered = lower(zb_h1(4, 8));
  const std::string svg = to_svg(lowered, simulate(lowered, {{StageCost{}}, 0.1, CommQueues::per_edge}));
  EXPECT_EQ(count(svg, "box\" x="), 4U * 8 * 3);
  EXPECT_EQ(count(svg, "<rect class=\"comm\" x="), 2U * 3 * 8 + 1) << "and one in the legend";
  EXPECT_EQ(count(svg, "<g>"), count(svg, "</g>"));
  EXPECT_EQ(count(svg, "<svg "), count(svg, "</svg>"));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_THAT(svg, HasSubstr("2W7 · "));
}

TEST(Svg, IsOneFile) {
  const Schedule lowered = lower(interleaved(2, 2, 4));
  const std::string svg = to_svg(lowered, simulate(lowered));
  EXPECT_EQ(count(svg, "http"), 1U) << "the namespace only";
  EXPECT_THAT(svg, Not(HasSubstr("href")));
}

TEST(Svg, StaysSaneAtTheExtremes) {
  for (const Schedule& schedule : {one_f_one_b(1, 1), gpipe(8, 600), zb_v(32, 3)}) {
    const Schedule lowered = lower(schedule);
    for (const StageCost cost : {StageCost{}, {1e-12, 0, 0}, {1e12, 1e-12, 3}}) {
      const std::string svg = to_svg(lowered, simulate(lowered, {{cost}, 0, CommQueues::per_edge}));
      EXPECT_THAT(svg, Not(HasSubstr("nan")));
      EXPECT_THAT(svg, Not(HasSubstr("inf")));
      EXPECT_LT(count(svg, "class=\"grid\""), 200U);
    }
  }
  const Schedule large = lower(one_f_one_b(64, 2000));
  EXPECT_GT(drawn(simulate(large)), kMaxDrawn);
  EXPECT_THROW((void)to_svg(large, simulate(large)), Error);
}

TEST(Trace, IsJsonWithOneEventPerActionAndEndOfATransfer) {
  const Schedule lowered = lower(interleaved(3, 2, 5));
  const Simulation simulation = simulate(lowered, {{StageCost{}}, 0.25, CommQueues::per_edge});
  const auto trace = nlohmann::json::parse(to_chrome_trace(lowered, simulation, 1000));
  size_t compute = 0, comm = 0, starts = 0, finishes = 0;
  double last = 0;
  for (const auto& event : trace.at("traceEvents")) {
    const std::string phase = event.at("ph");
    starts += phase == "s" ? 1 : 0;
    finishes += phase == "f" ? 1 : 0;
    if (phase != "X") continue;
    EXPECT_LT(event.at("pid").get<int>(), 3);
    (event.at("tid") == 0 ? compute : comm) += 1;
    last = std::max(last, event.at("ts").get<double>() + event.at("dur").get<double>());
  }
  EXPECT_EQ(compute, 6U * 5 * 2);
  EXPECT_EQ(comm, 2U * 2 * 5 * 5);
  EXPECT_EQ(starts, finishes);
  EXPECT_NEAR(last, simulation.makespan * 1000, 1e-2);
  EXPECT_THAT(trace.dump(), HasSubstr("\"name\":\"F mb3\""));
}

TEST(Text, HasALinePerRank) {
  EXPECT_EQ(to_text(one_f_one_b(2, 2)),
            "1f1b: 2 ranks, 2 stages, 2 microbatches\n"
            "rank 0 (stage 0): 0F0 0F1 0B0 0B1\n"
            "rank 1 (stage 1): 1F0 1B0 1F1 1B1\n");
}

}  // namespace
}  // namespace trident::pipeline
