#include <fmt/format.h>

#include <iterator>

#include "parallel/pipeline/render.h"

namespace trident::pipeline {
namespace {

enum Thread { kCompute = 0, kSend = 1, kReceive = 2 };

class TraceWriter {
 public:
  explicit TraceWriter(double microseconds) : microseconds_(microseconds) {}

  void name_rank(const Schedule& schedule, int32_t rank) {
    add(R"json({{"ph":"M","name":"process_name","pid":{},"args":{{"name":"rank {} (stage {})"}}}})json", rank, rank,
        fmt::join(schedule.stages_of(rank), ", "));
    add(R"json({{"ph":"M","name":"process_sort_index","pid":{},"args":{{"sort_index":{}}}}})json", rank, rank);
    for (const auto& [thread, name] : {std::pair{kCompute, "compute"}, {kSend, "send"}, {kReceive, "receive"}})
      add(R"json({{"ph":"M","name":"thread_name","pid":{},"tid":{:d},"args":{{"name":"{}"}}}})json", rank,
          static_cast<int>(thread), name);
  }

  void action(int32_t rank, Thread thread, const Action& action, double start, double end) {
    add(R"json({{"ph":"X","name":"{} mb{}","cat":"{}","pid":{},"tid":{:d},"ts":{:.3f},"dur":{:.3f},)json"
        R"json("args":{{"action":"{}","stage":{},"microbatch":{}}}}})json",
        op_name(action.op), action.microbatch, thread == kCompute ? "compute" : "comm", rank, static_cast<int>(thread),
        start * microseconds_, (end - start) * microseconds_, to_string(action), action.stage, action.microbatch);
  }

  // Perfetto draws an arrow from the send to the receive.
  void arrow(const Transfer& transfer, size_t id) {
    add(R"json({{"ph":"s","name":"transfer","cat":"comm","id":{},"pid":{},"tid":{:d},"ts":{:.3f}}})json", id,
        transfer.from, static_cast<int>(kSend), transfer.start * microseconds_);
    add(R"json({{"ph":"f","bp":"e","name":"transfer","cat":"comm","id":{},"pid":{},"tid":{:d},"ts":{:.3f}}})json", id,
        transfer.to, static_cast<int>(kReceive), transfer.end * microseconds_);
  }

  std::string finish() { return "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[" + text_ + "\n]}\n"; }

 private:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    text_ += text_.empty() ? "\n" : ",\n";
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
  }

  double microseconds_;
  std::string text_;
};

}  // namespace

std::string to_chrome_trace(const Schedule& schedule, const Simulation& simulation, double microseconds) {
  TraceWriter trace(microseconds);
  for (int32_t rank = 0; rank < schedule.ranks; ++rank) trace.name_rank(schedule, rank);
  for (size_t rank = 0; rank < simulation.compute.size(); ++rank)
    for (const TimedAction& timed : simulation.compute[rank])
      trace.action(static_cast<int32_t>(rank), kCompute, timed.action, timed.start, timed.end);
  for (size_t i = 0; i < simulation.transfers.size(); ++i) {
    const Transfer& transfer = simulation.transfers[i];
    trace.action(transfer.from, kSend, transfer.send, transfer.start, transfer.end);
    trace.action(transfer.to, kReceive, receive_of(transfer.send), transfer.start, transfer.end);
    if (transfer.end > transfer.start) trace.arrow(transfer, i);
  }
  return trace.finish();
}

}  // namespace trident::pipeline
