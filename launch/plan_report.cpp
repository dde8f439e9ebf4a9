#include "launch/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "launch/text_table.h"

namespace trident {
namespace {

using plan::LayoutPlan;
using Json = nlohmann::ordered_json;

constexpr double kGiB = 1024.0 * 1024 * 1024;
constexpr size_t kRefusedShown = 12;

double hours(const PlanReport& report, const LayoutPlan& layout) {
  return *report.tokens / report.workload.tokens() * layout.step_s / 3600;
}
double cost(const PlanReport& report, const LayoutPlan& layout) {
  return hours(report, layout) * static_cast<double>(layout.layout.ranks()) * report.cluster.cost_per_hour;
}

Json memory_json(const plan::MemoryByKind& memory) {
  return {{"parameters", memory.parameters / kGiB},
          {"gradients", memory.gradients / kGiB},
          {"optimizer", memory.optimizer / kGiB},
          {"activations", memory.activations / kGiB},
          {"other", memory.other / kGiB},
          {"total", memory.on_device() / kGiB},
          {"host_snapshots", memory.snapshots / kGiB}};
}

Json layout_json(const PlanReport& report, const LayoutPlan& plan) {
  const plan::Layout& layout = plan.layout;
  Json json = {{"dp", layout.dp},
               {"tp", layout.tp},
               {"pp", layout.pp},
               {"virtual_stages", layout.virtual_stages},
               {"schedule", layout.schedule},
               {"micro_batch_size", layout.micro_batch_size},
               {"recompute", plan::to_string(layout.recompute)},
               {"sequence_parallel", layout.sequence_parallel},
               {"zero_stage", layout.zero_stage},
               {"step_s", plan.step_s},
               {"tokens_per_s_per_rank", plan.tokens_per_s_per_rank},
               {"tflops_per_rank", plan.tflops_per_rank},
               {"mfu", plan.mfu},
               {"mfu_causal", plan.mfu_causal},
               {"bubble_ratio", plan.bubble_ratio},
               {"exposed_comm_s", plan.exposed_comm_s},
               {"memory_gib", memory_json(plan.memory)},
               {"microbatches", plan.microbatches},
               {"time_s",
                {{"forward", plan.time.forward},
                 {"backward", plan.time.backward},
                 {"tensor_parallel", plan.time.tensor_parallel},
                 {"bubble", plan.time.bubble},
                 {"data_parallel", plan.time.data_parallel},
                 {"optimizer", plan.time.optimizer}}},
               {"simulated", plan.simulated}};
  if (report.tokens) {
    json["hours"] = hours(report, plan);
    if (report.cluster.cost_per_hour > 0) json["cost"] = cost(report, plan);
  }
  return json;
}

std::string seconds(double value) {
  return value < 0.1 ? fmt::format("{:.2f} ms", value * 1e3) : fmt::format("{:.3f} s", value);
}
std::string percent(double ratio) { return fmt::format("{:.1f}", 100 * ratio); }

std::string schedule_text(const plan::Layout& layout) {
  if (layout.pp == 1) return "-";
  return layout.schedule == "interleaved" ? fmt::format("interleaved {}", layout.virtual_stages) : layout.schedule;
}

std::string table(const PlanReport& report) {
  std::vector<std::string> headings = {">no.",           ">dp",           ">tp",       ">pp",       "schedule",
                                       ">micro",         "recompute",     "seq. par.", ">ZeRO",     ">step",
                                       ">tokens/s/rank", ">TFLOP/s/rank", ">MFU %",    ">bubble %", ">exposed comm",
                                       ">GiB/rank"};
  if (report.tokens) headings.emplace_back(">days");
  if (report.tokens && report.cluster.cost_per_hour > 0) headings.emplace_back(">cost");
  TextTable text(headings);
  const size_t count = std::min(report.top, report.result.layouts.size());
  for (size_t i = 0; i < count; ++i) {
    const LayoutPlan& plan = report.result.layouts[i];
    const plan::Layout& layout = plan.layout;
    std::vector<std::string> cells = {std::to_string(i + 1),
                                      std::to_string(layout.dp),
                                      std::to_string(layout.tp),
                                      std::to_string(layout.pp),
                                      schedule_text(layout),
                                      std::to_string(layout.micro_batch_size),
                                      std::string(plan::to_string(layout.recompute)),
                                      layout.tp == 1             ? "-"
                                      : layout.sequence_parallel ? "yes"
                                                                 : "no",
                                      std::to_string(layout.zero_stage),
                                      seconds(plan.step_s),
                                      fmt::format("{:.4g}", plan.tokens_per_s_per_rank),
                                      fmt::format("{:.4g}", plan.tflops_per_rank),
                                      percent(plan.mfu),
                                      percent(plan.bubble_ratio),
                                      seconds(plan.exposed_comm_s),
                                      fmt::format("{:.3g}", plan.memory.on_device() / kGiB)};
    if (report.tokens) cells.push_back(fmt::format("{:.3g}", hours(report, plan) / 24));
    if (report.tokens && report.cluster.cost_per_hour > 0) cells.push_back(fmt::format("{:.3g}", cost(report, plan)));
    text.add(std::move(cells));
  }
  return text.to_string();
}

}  // namespace

Json to_json(const PlanReport& report) {
  Json layouts = Json::array(), refused = Json::array();
  const size_t count = std::min(report.top, report.result.layouts.size());
  for (size_t i = 0; i < count; ++i) layouts.push_back(layout_json(report, report.result.layouts[i]));
  for (const plan::RefusedMesh& mesh : report.result.refused)
    refused.push_back({{"dp", mesh.dp}, {"tp", mesh.tp}, {"pp", mesh.pp}, {"reason", mesh.reason}});
  return {{"layouts", std::move(layouts)},
          {"refused", std::move(refused)},
          {"cluster", report.cluster.name},
          {"considered", report.result.considered},
          {"evaluated", report.result.evaluated},
          {"mfu_convention",
           "6 FLOPs per matrix weight and token, attention in full (mfu) or its causal half "
           "(mfu_causal), recomputation not counted"}};
}

std::string to_text(const PlanReport& report) {
  const plan::SearchResult& result = report.result;
  std::string text = table(report);
  if (result.layouts.size() > report.top)
    text += fmt::format("… and {} more layouts that fit\n", result.layouts.size() - report.top);
  if (!result.refused.empty()) text += "\nRefused:\n";
  for (size_t i = 0; i < std::min(result.refused.size(), kRefusedShown); ++i) {
    const plan::RefusedMesh& mesh = result.refused[i];
    text += fmt::format("  dp {} tp {} pp {}: {}\n", mesh.dp, mesh.tp, mesh.pp, mesh.reason);
  }
  if (result.refused.size() > kRefusedShown)
    text += fmt::format("  … and {} more meshes (--json lists all)\n", result.refused.size() - kRefusedShown);
  text += fmt::format(
      "\nOn {}. {} layouts considered, {} timed. MFU: 6 FLOPs per matrix weight and token, attention counted in full,\n"
      "recomputation not counted. Memory is the accelerator's, of the rank that needs the most.\n",
      report.cluster.name, result.considered, result.evaluated);
  return text;
}

std::string explain(const PlanReport& report, const LayoutPlan& plan) {
  const plan::TimeByKind& time = plan.time;
  const plan::MemoryByKind& memory = plan.memory;
  const plan::FittedConstants& fitted = report.cluster.fitted;
  std::string text = plan.layout.to_string() + "\n";
  text += fmt::format("  microbatches a rank and step {}, found {}\n", plan.microbatches,
                      plan.simulated ? "by simulating the schedule" : "in closed form");
  Shares times(plan.step_s), bytes(memory.on_device());
  for (const auto& [what, value] :
       {std::pair("step", plan.step_s), std::pair("  forward", time.forward),
        std::pair("  backward, with recomputation", time.backward),
        std::pair("  tensor-parallel, exposed", time.tensor_parallel),
        std::pair("  pipeline: waits and transfers", time.bubble),
        std::pair("  data-parallel, exposed", time.data_parallel), std::pair("  optimizer", time.optimizer)})
    times.add(what, value, seconds(value));
  for (const auto& [what, value] :
       {std::pair("memory of the largest rank", memory.on_device()), std::pair("  parameters", memory.parameters),
        std::pair("  gradients", memory.gradients), std::pair("  optimizer", memory.optimizer),
        std::pair("  activations", memory.activations), std::pair("  arriving from other ranks", memory.other)})
    bytes.add(what, value, fmt::format("{:.2f} GiB", value / kGiB));
  text += times.to_string() + bytes.to_string();
  text += fmt::format("  {:38} {:>8.2f} GiB\n", "host: snapshots", memory.snapshots / kGiB);
  text += fmt::format("  MFU {:.1f} % (attention in full), {:.1f} % (its causal half)\n", 100 * plan.mfu,
                      100 * plan.mfu_causal);
  text += fmt::format("  constants of {}: matmul {:.3g}, memory {:.3g}, attention {:.3g}\n", report.cluster.name,
                      fitted.matmul, fitted.memory, fitted.attention);
  return text;
}

}  // namespace trident
