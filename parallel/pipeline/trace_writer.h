#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "parallel/pipeline/action.h"

namespace trident::pipeline {

/// A moment in a row: a rank is a process of the viewer, its threads are rows. Microseconds.
struct TracePoint {
  int32_t rank = 0;
  int thread = 0;
  double time = 0;
};

/// `F mb3`; the op alone where it has no microbatch.
[[nodiscard]] std::string trace_name(const Action& action);
/// Members of a JSON object: the action, its stage and its microbatch.
[[nodiscard]] std::string trace_args(const Action& action);
/// Any bytes as a JSON string, with its quotes.
[[nodiscard]] std::string json_string(std::string_view text);

/// Chrome's trace format, event by event, for simulated and measured timelines alike. Spans of one thread must follow
/// one another or nest: Perfetto drops what overlaps otherwise. `args` are members of a JSON object.
class TraceWriter {
 public:
  using Output = std::function<void(std::string_view text)>;
  explicit TraceWriter(Output output);

  /// `rank 3 (stage 1, 5)`; `place` is added where it is not empty: `rank 3 (stage 1, 5; dp 0, tp 1)`.
  void name_rank(int32_t rank, std::span<const int32_t> stages, std::string_view place = {});
  void name_thread(int32_t rank, int thread, std::string_view name);
  /// Rows by number, not by name.
  void sort_thread(int32_t rank, int thread);
  void span(const TracePoint& start, double duration, std::string_view name, std::string_view category,
            std::string_view args);
  /// A transfer, from a moment in its sender's span to one in its receiver's.
  void arrow(const TracePoint& from, const TracePoint& to, size_t id);
  /// A moment with a name, through all rows of its rank.
  void mark(const TracePoint& at, std::string_view name);
  /// Ends the file; `metadata` are members of a JSON object.
  void finish(std::string_view metadata = {});

 private:
  void add(std::string_view event);

  Output output_;
  bool first_ = true;
};

}  // namespace trident::pipeline
