#include "parallel/pipeline/trace_writer.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <utility>

namespace trident::pipeline {

std::string trace_name(const Action& action) {
  return action.microbatch < 0 ? std::string(op_name(action.op))
                               : fmt::format("{} mb{}", op_name(action.op), action.microbatch);
}

std::string trace_args(const Action& action) {
  return fmt::format(R"("action":"{}","stage":{},"microbatch":{})", to_string(action), action.stage, action.microbatch);
}

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

TraceWriter::TraceWriter(Output output) : output_(std::move(output)) {
  output_(R"({"displayTimeUnit":"ms","traceEvents":[)");
}

void TraceWriter::add(std::string_view event) {
  output_(std::exchange(first_, false) ? "\n" : ",\n");
  output_(event);
}

void TraceWriter::name_rank(int32_t rank, std::span<const int32_t> stages, std::string_view place) {
  std::string where = stages.empty() ? std::string() : fmt::format("stage {}", fmt::join(stages, ", "));
  if (!place.empty()) where += fmt::format("{}{}", where.empty() ? "" : "; ", place);
  const std::string name = where.empty() ? fmt::format("rank {}", rank) : fmt::format("rank {} ({})", rank, where);
  add(fmt::format(R"json({{"ph":"M","name":"process_name","pid":{},"args":{{"name":{}}}}})json", rank,
                  json_string(name)));
  add(fmt::format(R"json({{"ph":"M","name":"process_sort_index","pid":{},"args":{{"sort_index":{}}}}})json", rank,
                  rank));
}

void TraceWriter::name_thread(int32_t rank, int thread, std::string_view name) {
  add(fmt::format(R"json({{"ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":{}}}}})json", rank, thread,
                  json_string(name)));
}

void TraceWriter::sort_thread(int32_t rank, int thread) {
  add(fmt::format(R"json({{"ph":"M","name":"thread_sort_index","pid":{},"tid":{},"args":{{"sort_index":{}}}}})json",
                  rank, thread, thread));
}

void TraceWriter::span(const TracePoint& start, double duration, std::string_view name, std::string_view category,
                       std::string_view args) {
  add(fmt::format(
      R"json({{"ph":"X","name":{},"cat":"{}","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f},"args":{{{}}}}})json",
      json_string(name), category, start.rank, start.thread, start.time, duration, args));
}

void TraceWriter::arrow(const TracePoint& from, const TracePoint& to, size_t id) {
  add(fmt::format(R"json({{"ph":"s","name":"transfer","cat":"comm","id":{},"pid":{},"tid":{},"ts":{:.3f}}})json", id,
                  from.rank, from.thread, from.time));
  add(fmt::format(
      R"json({{"ph":"f","bp":"e","name":"transfer","cat":"comm","id":{},"pid":{},"tid":{},"ts":{:.3f}}})json", id,
      to.rank, to.thread, to.time));
}

void TraceWriter::mark(const TracePoint& at, std::string_view name) {
  add(fmt::format(R"json({{"ph":"i","s":"p","name":{},"pid":{},"tid":{},"ts":{:.3f}}})json", json_string(name), at.rank,
                  at.thread, at.time));
}

void TraceWriter::finish(std::string_view metadata) {
  output_("\n]");
  if (!metadata.empty()) output_(fmt::format(R"(,"otherData":{{{}}})", metadata));
  output_("}\n");
}

}  // namespace trident::pipeline
