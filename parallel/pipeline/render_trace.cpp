#include <string>

#include "parallel/pipeline/render.h"
#include "parallel/pipeline/trace_writer.h"

namespace trident::pipeline {
namespace {

enum Thread { kCompute = 0, kSend = 1, kReceive = 2 };

void name_rank(TraceWriter& trace, const Schedule& schedule, int32_t rank) {
  trace.name_rank(rank, schedule.stages_of(rank));
  trace.name_thread(rank, kCompute, "compute");
  trace.name_thread(rank, kSend, "send");
  trace.name_thread(rank, kReceive, "receive");
}

}  // namespace

std::string to_chrome_trace(const Schedule& schedule, const Simulation& simulation, double microseconds) {
  std::string text;
  TraceWriter trace([&](std::string_view part) { text += part; });
  const auto draw = [&](int32_t rank, Thread thread, const Action& action, double start, double end) {
    trace.span({rank, thread, start * microseconds}, (end - start) * microseconds, trace_name(action),
               thread == kCompute ? "compute" : "comm", trace_args(action));
  };
  for (int32_t rank = 0; rank < schedule.ranks; ++rank) name_rank(trace, schedule, rank);
  for (size_t rank = 0; rank < simulation.compute.size(); ++rank)
    for (const TimedAction& timed : simulation.compute[rank])
      draw(static_cast<int32_t>(rank), kCompute, timed.action, timed.start, timed.end);
  for (size_t i = 0; i < simulation.transfers.size(); ++i) {
    const Transfer& transfer = simulation.transfers[i];
    draw(transfer.from, kSend, transfer.send, transfer.start, transfer.end);
    draw(transfer.to, kReceive, receive_of(transfer.send), transfer.start, transfer.end);
    if (transfer.end > transfer.start)
      trace.arrow({transfer.from, kSend, transfer.start * microseconds},
                  {transfer.to, kReceive, transfer.end * microseconds}, i);
  }
  trace.finish();
  return text;
}

}  // namespace trident::pipeline
