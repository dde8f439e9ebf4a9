#pragma once

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

/// What a trace in Chrome's format draws.
namespace trident::pipeline {

struct Drawn {
  std::string name, category, action, group;
  int thread = 0;
  double start = 0, end = 0;
  int64_t bytes = -1;
  uint64_t sequence = 0;
  bool unfinished = false;
};

inline Drawn drawn_of(const nlohmann::json& event) {
  const nlohmann::json& args = event.at("args");
  Drawn drawn{event.at("name"), event.at("cat"), args.value("action", ""), args.value("group", ""), event.at("tid")};
  drawn.start = event.at("ts");
  drawn.end = drawn.start + event.at("dur").get<double>();
  drawn.bytes = args.value("bytes", int64_t{-1});
  drawn.sequence = args.value("sequence", uint64_t{0});
  drawn.unfinished = args.value("unfinished", false);
  return drawn;
}

/// By start; of two that start together the longer first.
inline std::vector<Drawn> spans(const nlohmann::json& trace) {
  std::vector<Drawn> all;
  for (const nlohmann::json& event : trace.at("traceEvents"))
    if (event.at("ph") == "X") all.push_back(drawn_of(event));
  std::stable_sort(all.begin(), all.end(), [](const Drawn& a, const Drawn& b) {
    return std::pair(a.start, -a.end) < std::pair(b.start, -b.end);
  });
  return all;
}

inline constexpr double kRounding = 0.002;  // microseconds, of times with three decimals

/// What Perfetto demands of a thread's spans.
inline void expect_nesting(const nlohmann::json& trace) {
  std::map<int, std::vector<double>> open;
  for (const Drawn& drawn : spans(trace)) {
    std::vector<double>& ends = open[drawn.thread];
    while (!ends.empty() && ends.back() <= drawn.start + kRounding) ends.pop_back();
    const double most = ends.empty() ? drawn.end : ends.back() + kRounding;
    EXPECT_LE(drawn.end, most) << drawn.name << " on " << drawn.thread;
    ends.push_back(drawn.end);
  }
}

}  // namespace trident::pipeline
