#include "train/metrics/metrics_file.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <iterator>
#include <string_view>

#include "train/metrics/append_file.h"
#include "train/metrics/events_file.h"
#include "train/metrics/json_fields.h"
#include "train/metrics/json_text.h"

namespace trident {
namespace {

using json_fields::number;
using nlohmann::json;

constexpr int exact = 17;  // significant digits that give a double back
constexpr int brief = 7;

void field(std::string& out, std::string_view name, double value, int digits) {
  fmt::format_to(std::back_inserter(out), ",\"{}\":", name);
  json_text::append_number(out, value, digits);
}

std::string row_start(double time, int attempt, std::int64_t step) {
  using namespace std::chrono;
  std::string ts;
  if (std::isfinite(time)) {
    const auto moment = system_clock::time_point(duration_cast<system_clock::duration>(duration<double>(time)));
    ts = fmt::format(",\"ts\":\"{}\"", utc_timestamp(moment));
  }
  return fmt::format("{{\"v\":1{},\"attempt\":{},\"step\":{}", ts, attempt, step);
}

void append_phases(std::string& out, const PhaseSeconds& time) {
  out += ",\"time_s\":{\"data\":";
  json_text::append_number(out, time.data, brief);
  field(out, "compute", time.compute, brief);
  field(out, "comm", time.comm, brief);
  field(out, "bubble", time.bubble, brief);
  field(out, "optimizer", time.optimizer, brief);
  field(out, "checkpoint", time.checkpoint, brief);
  out += '}';
}

std::int64_t integer(const json& object, const char* key, std::int64_t otherwise) {
  return json_fields::integer(object, key).value_or(otherwise);
}

double read_time(const json& row) { return seconds_since_epoch(json_fields::text(row, "ts")).value_or(NAN); }

PhaseSeconds read_phases(const json& row) {
  const auto time = row.find("time_s");
  if (time == row.end() || !time->is_object()) return {};
  return {.data = number(*time, "data", 0),
          .compute = number(*time, "compute", 0),
          .comm = number(*time, "comm", 0),
          .bubble = number(*time, "bubble", 0),
          .optimizer = number(*time, "optimizer", 0),
          .checkpoint = number(*time, "checkpoint", 0)};
}

StepMetrics read_step(const json& row, int attempt, std::int64_t step) {
  StepMetrics metrics;
  metrics.attempt = attempt;
  metrics.step = step;
  metrics.time = read_time(row);
  metrics.loss = number(row, "loss", NAN);
  metrics.grad_norm = number(row, "grad_norm", NAN);
  metrics.lr = number(row, "lr", NAN);
  metrics.tokens = integer(row, "tokens", 0);
  metrics.step_s = number(row, "step_s", NAN);
  metrics.tokens_per_s = number(row, "tokens_per_s", NAN);
  metrics.time_s = read_phases(row);
  if (const auto mfu = row.find("mfu"); mfu != row.end() && mfu->is_number()) metrics.mfu = mfu->get<double>();
  if (const auto memory = row.find("memory_gib"); memory != row.end() && memory->is_object()) {
    metrics.memory_gib_max = number(*memory, "max", NAN);
  }
  return metrics;
}

template <class Row>
void keep_highest_attempts(std::vector<Row>& rows) {
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return a.step != b.step ? a.step < b.step : a.attempt < b.attempt;
  });
  auto kept = rows.begin();
  for (auto row = rows.begin(); row != rows.end(); ++row) {
    const bool last_of_step = std::next(row) == rows.end() || std::next(row)->step != row->step;
    if (last_of_step) *kept++ = *row;
  }
  rows.erase(kept, rows.end());
}

}  // namespace

std::string to_json_line(const StepMetrics& metrics) {
  std::string out = row_start(metrics.time, metrics.attempt, metrics.step);
  field(out, "loss", metrics.loss, exact);
  field(out, "grad_norm", metrics.grad_norm, exact);
  field(out, "lr", metrics.lr, exact);
  fmt::format_to(std::back_inserter(out), ",\"tokens\":{}", metrics.tokens);
  field(out, "step_s", metrics.step_s, brief);
  field(out, "tokens_per_s", metrics.tokens_per_s, brief);
  append_phases(out, metrics.time_s);
  field(out, "mfu", metrics.mfu.value_or(NAN), brief);
  out += ",\"memory_gib\":{\"max\":";
  json_text::append_number(out, metrics.memory_gib_max, brief);
  out += '}';
  if (!std::isfinite(metrics.loss) || !std::isfinite(metrics.grad_norm)) out += ",\"nonfinite\":true";
  out += "}\n";
  return out;
}

std::string to_json_line(const EvalMetrics& metrics) {
  std::string out = row_start(metrics.time, metrics.attempt, metrics.step);
  field(out, "val_loss", metrics.val_loss, exact);
  fmt::format_to(std::back_inserter(out), ",\"tokens\":{}", metrics.tokens);
  field(out, "seconds", metrics.seconds, brief);
  if (!std::isfinite(metrics.val_loss)) out += ",\"nonfinite\":true";
  out += "}\n";
  return out;
}

bool add_metrics_row(std::string_view line, MetricsHistory& history) {
  const json row = json::parse(line, nullptr, false);
  if (!row.is_object()) return false;
  const std::int64_t step = integer(row, "step", -1);
  const std::int64_t attempt = integer(row, "attempt", 1);
  if (step < 0 || attempt < 0 || attempt > std::numeric_limits<int>::max()) return false;
  const int small_attempt = static_cast<int>(attempt);
  if (row.contains("val_loss")) {
    EvalMetrics metrics{.attempt = small_attempt, .step = step, .val_loss = number(row, "val_loss", NAN)};
    metrics.tokens = integer(row, "tokens", 0);
    metrics.seconds = number(row, "seconds", 0);
    metrics.time = read_time(row);
    history.evaluations.push_back(metrics);
  } else if (row.contains("loss")) {
    history.steps.push_back(read_step(row, small_attempt, step));
  } else {
    return false;
  }
  history.last_attempt = std::max(history.last_attempt, small_attempt);
  return true;
}

MetricsHistory read_metrics_rows(const std::filesystem::path& path) {
  MetricsHistory history;
  const std::int64_t too_long = for_each_line(path, [&](std::string_view line) {
    if (!line.empty() && !add_metrics_row(line, history)) ++history.unreadable_lines;
  });
  history.unreadable_lines += too_long;
  return history;
}

void keep_highest_attempts(MetricsHistory& history) {
  keep_highest_attempts(history.steps);
  keep_highest_attempts(history.evaluations);
}

MetricsHistory read_metrics(const std::filesystem::path& path) {
  MetricsHistory history = read_metrics_rows(path);
  keep_highest_attempts(history);
  return history;
}

int highest_attempt(const std::filesystem::path& path) {
  constexpr std::string_view key = "\"attempt\":";
  int highest = 0;
  for_each_line(path, [&](std::string_view line) {
    const std::size_t at = line.find(key);
    if (at == std::string_view::npos) return;
    std::string_view digits = line.substr(at + key.size());
    while (!digits.empty() && digits.front() == ' ') digits.remove_prefix(1);
    int attempt = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), attempt);
    // The next attempt is one more, so the largest int is no attempt.
    if (parsed.ec == std::errc() && attempt < std::numeric_limits<int>::max()) highest = std::max(highest, attempt);
  });
  return highest;
}

}  // namespace trident
