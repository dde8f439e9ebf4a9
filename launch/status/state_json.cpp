#include "launch/status/state_json.h"

#include <nlohmann/json.hpp>

#include <cmath>

#include "train/metrics/events_file.h"

namespace trident {
namespace {

using json = nlohmann::ordered_json;

constexpr size_t kLongestText = 500;

json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

// Charts and heat maps need no more digits, and a page of many ranks stays small.
json rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (value == 0) return 0;
  const double scale = std::pow(10, 4 - std::ceil(std::log10(std::abs(value))));
  return std::isfinite(scale) && scale > 0 ? std::round(value * scale) / scale : value;
}

template <class Value>
json optional(const std::optional<Value>& value) {
  return value ? json(*value) : json(nullptr);
}

std::string brief(const std::string& text) { return text.size() <= kLongestText ? text : text.substr(0, kLongestText); }

json ranks(const GangStatus& gang, const std::vector<int>& slow) {
  json all = json::array();
  for (const RankStatus& rank : gang.ranks) {
    const bool straggles = std::find(slow.begin(), slow.end(), rank.rank) != slow.end();
    all.push_back({{"rank", rank.rank},
                   {"dp", rank.at.dp},
                   {"tp", rank.at.tp},
                   {"pp", rank.at.pp},
                   {"host", brief(rank.host)},
                   {"pid", rank.pid},
                   {"state", rank.state},
                   {"phase", rank.phase},
                   {"step", rank.step},
                   {"done", rank.done},
                   {"idle_s", rounded(rank.idle_s)},
                   {"limit_s", rounded(rank.limit_s)},
                   {"busy_s", rounded(rank.busy_s)},
                   {"ratio", rank.ratio ? rounded(*rank.ratio) : json(nullptr)},
                   {"straggler", straggles}});
  }
  return all;
}

json heat(const HeatMap& map) {
  json steps = json::array(), columns = json::array();
  for (const HeatMap::Column& column : map.columns()) {
    steps.push_back(column.step);
    json seconds = json::array();
    for (const float value : column.seconds) seconds.push_back(rounded(static_cast<double>(value)));
    columns.push_back(std::move(seconds));
  }
  return {{"steps", std::move(steps)}, {"busy_s", std::move(columns)}};
}

json curve(const Curve& curve) {
  json values = json::array();
  for (const double value : curve.values) values.push_back(number(value));
  return {{"steps", curve.steps}, {"values", std::move(values)}};
}

json events(const std::vector<EventRecord>& records) {
  json all = json::array();
  for (const EventRecord& event : records) {
    all.push_back({{"ts", brief(event.ts)},
                   {"event", to_string(event.event)},
                   {"attempt", event.attempt},
                   {"step", event.step},
                   {"rank", optional(event.rank)},
                   {"host", brief(event.host)},
                   {"cause", brief(event.cause)},
                   {"detail", brief(event.detail)},
                   {"seconds", optional(event.seconds)}});
  }
  return all;
}

json stragglers(const std::vector<StragglerSpan>& spans) {
  json all = json::array();
  for (const StragglerSpan& span : spans) {
    all.push_back({{"rank", span.rank},
                   {"host", brief(span.host)},
                   {"attempt", span.attempt},
                   {"first_step", span.first_step},
                   {"last_step", optional(span.last_step)},
                   {"ratio", rounded(span.ratio)},
                   {"busy_s", rounded(span.busy_seconds)}});
  }
  return all;
}

json ledger(const Ledger& ledger) {
  json uses;
  for (size_t i = 0; i < kTimeUses; ++i) uses[std::string(to_string(static_cast<TimeUse>(i)))] = ledger.seconds[i];
  return {{"wall_s", ledger.wall()},
          {"goodput", ledger.goodput()},
          {"lost_steps", ledger.lost_steps},
          {"seconds", std::move(uses)}};
}

}  // namespace

std::string state_json(const RunStatus& status) {
  json state{{"v", 1},
             {"now", status.now},
             {"run", {{"name", brief(status.name)}, {"folder", status.folder}, {"parameters", status.parameters}}},
             {"state", status.state},
             {"healthy", status.healthy},
             {"reason", brief(status.reason)},
             {"epoch", status.epoch},
             {"mesh", {{"dp", status.mesh.dp}, {"tp", status.mesh.tp}, {"pp", status.mesh.pp}}},
             {"step", status.last.step},
             {"total_steps", status.total_steps},
             {"loss", number(status.last.loss)},
             {"val_loss", number(status.last_evaluation.val_loss)},
             {"grad_norm", number(status.last.grad_norm)},
             {"lr", number(status.last.lr)},
             {"tokens", status.last.tokens},
             {"tokens_per_s", number(status.tokens_per_s)},
             {"step_s", number(status.step_s)},
             {"mfu", optional(status.last.mfu)},
             {"memory_gib", number(status.last.memory_gib_max)},
             {"eta_s", optional(status.eta_s)},
             {"faults", status.faults},
             {"checkpoints",
              {{"count", status.checkpoints},
               {"last_step", status.checkpoint_step < 0 ? json(nullptr) : json(status.checkpoint_step)},
               {"last_s", status.checkpoint_s}}},
             {"ledger", ledger(status.ledger)},
             {"stragglers", stragglers(status.stragglers)},
             {"ranks", status.gang ? ranks(*status.gang, status.slow_ranks) : json::array()},
             {"heat", status.gang ? heat(status.gang->heat) : heat(HeatMap())},
             {"curves", {{"loss", curve(status.loss)}, {"val_loss", curve(status.validation_loss)}}},
             {"events", events(status.events)}};
  return state.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace trident
