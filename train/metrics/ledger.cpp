#include "train/metrics/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "train/metrics/human_text.h"

namespace trident {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kNowhere = std::numeric_limits<std::int64_t>::max();

// Work that has an end and took so long.
struct Item {
  std::int64_t step = 0;
  double end = kUnknown;
  double seconds = 0;
  double checkpoint = 0;  // of a step: seconds of saving, its own and those since the step before
  TimeUse use = TimeUse::useful;
};

// One start of the run.
struct Attempt {
  double begin = kUnknown;
  double first_event = kUnknown;
  double training = kUnknown;  // when its first step could begin
  double verdict = kUnknown;   // of a fault
  double silence = 0;          // before that
  double last_save = kUnknown;
  double last_event = kUnknown;
  double end = kUnknown;
  bool failed = false;
  bool stopped = false;
  bool restart = false;  // whoever saw to the attempt before began this one
  std::int64_t resumed = kNowhere;
  std::vector<Item> items{};
};
using Attempts = std::map<std::int64_t, Attempt>;

double known_seconds(double value) { return std::isfinite(value) && value > 0 ? value : 0; }
double earliest(double a, double b) { return std::isnan(a) ? b : std::isnan(b) ? a : std::min(a, b); }
double latest(double a, double b) { return std::isnan(a) ? b : std::isnan(b) ? a : std::max(a, b); }

void add_rows(Attempts& attempts, const MetricsHistory& rows) {
  for (const StepMetrics& row : rows.steps) {
    Attempt& attempt = attempts[row.attempt];
    attempt.resumed = std::min(attempt.resumed, row.step - 1);
    attempt.items.push_back({row.step, row.time, known_seconds(row.step_s), known_seconds(row.time_s.checkpoint)});
  }
  for (const EvalMetrics& row : rows.evaluations) {
    attempts[row.attempt].items.push_back({row.step, row.time, known_seconds(row.seconds), 0, TimeUse::evaluation});
  }
}

void add_event(Attempt& attempt, const EventRecord& event) {
  const double time = seconds_since_epoch(event.ts).value_or(kUnknown);
  const double loading = event.event == RunEvent::resume ? known_seconds(event.seconds.value_or(0)) : 0;
  attempt.first_event = earliest(attempt.first_event, time - loading);
  attempt.last_event = latest(attempt.last_event, time);
  const bool resumes = event.event == RunEvent::resume || event.event == RunEvent::restart;
  if (resumes) attempt.resumed = std::min(attempt.resumed, event.step);
  if (event.event == RunEvent::start || event.event == RunEvent::resume)
    attempt.training = latest(attempt.training, time);
  if (event.event == RunEvent::checkpoint_commit) attempt.last_save = latest(attempt.last_save, time);
  if (event.event == RunEvent::stop) attempt.stopped = true;
  if (event.event == RunEvent::sample && std::isfinite(time))
    attempt.items.push_back({event.step, time, 0, 0, TimeUse::evaluation});
  if (event.event == RunEvent::verdict) {
    attempt.failed = true;
    attempt.verdict = time;
    attempt.silence = known_seconds(event.seconds.value_or(0));
  }
}

void add_epochs(Attempts& attempts, std::span<const EpochRecord> epochs) {
  for (const EpochRecord& epoch : epochs) {
    Attempt& attempt = attempts[epoch.epoch];
    attempt.begin = epoch.begin;
    attempt.end = epoch.end;
    attempt.restart = !epoch.first;
    attempt.failed = attempt.failed || epoch.outcome == "fault";
    attempt.stopped = attempt.stopped || !epoch.outcome.empty();
  }
}

// Order of the loop; times for rows that have none: one after the other.
void order_items(Attempt& attempt, double cursor) {
  const auto by_step = [](const Item& a, const Item& b) { return a.step != b.step ? a.step < b.step : a.use < b.use; };
  std::stable_sort(attempt.items.begin(), attempt.items.end(), by_step);
  double at = std::isfinite(attempt.training) ? attempt.training : std::max(cursor, known_seconds(attempt.begin));
  for (Item& item : attempt.items) {
    if (!std::isfinite(item.end)) item.end = at + item.seconds;
    at = std::max(at, item.end);
  }
  std::stable_sort(attempt.items.begin(), attempt.items.end(),
                   [](const Item& a, const Item& b) { return a.end < b.end; });
}

// Of ranks that nobody supervises only what they tell is known.
double beginning(const Attempt& attempt) {
  if (std::isfinite(attempt.begin)) return attempt.begin;
  double first = attempt.first_event;
  for (const Item& item : attempt.items) first = earliest(first, item.end - item.seconds);
  return first;
}

double beginning(const Attempts& attempts) {
  double first = kUnknown;
  for (const auto& [number, attempt] : attempts) first = earliest(first, beginning(attempt));
  return std::isfinite(first) ? first : 0;
}

// Walks along the time and gives every moment to one use. Clocks that jump back cost nothing.
class Painter {
 public:
  Painter(double start, Ledger& ledger) : cursor_(start), ledger_(ledger) {}
  [[nodiscard]] double cursor() const { return cursor_; }
  void until(double time, TimeUse use) {
    if (!(time > cursor_)) return;
    ledger_.seconds[static_cast<std::size_t>(use)] += time - cursor_;
    cursor_ = time;
  }

 private:
  double cursor_;
  Ledger& ledger_;
};

void paint_step(Painter& painter, const Item& item, bool lost, bool first) {
  const double start = item.end - item.seconds;
  const double before = painter.cursor();
  painter.until(start, first ? TimeUse::restart : TimeUse::checkpoint);
  const double saved = first ? 0 : painter.cursor() - before;
  const double inside = std::clamp(item.checkpoint - saved, 0.0, item.seconds);
  painter.until(start + inside, TimeUse::checkpoint);
  painter.until(item.end, lost ? TimeUse::recomputed : TimeUse::useful);
}

// `safe`: the step that a later attempt went on from; kNowhere: none.
void paint(Painter& painter, Attempt& attempt, std::int64_t safe, Ledger& ledger) {
  order_items(attempt, painter.cursor());
  bool first = true;
  for (const Item& item : attempt.items) {
    const bool lost = item.use == TimeUse::useful && item.step > safe;
    if (lost) ++ledger.lost_steps;
    if (item.use == TimeUse::useful) {
      paint_step(painter, item, lost, first);
    } else {
      painter.until(item.end - item.seconds, first ? TimeUse::restart : TimeUse::checkpoint);
      painter.until(item.end, TimeUse::evaluation);
    }
    first = false;
  }
  const TimeUse unfinished = first ? TimeUse::restart : TimeUse::recomputed;
  if (std::isfinite(attempt.verdict)) {
    painter.until(attempt.verdict - attempt.silence, unfinished);
    painter.until(attempt.verdict, TimeUse::detection);
    painter.until(attempt.end, TimeUse::restart);
  } else if (attempt.stopped) {
    painter.until(attempt.last_save, first ? TimeUse::restart : TimeUse::checkpoint);
    painter.until(latest(attempt.end, attempt.last_event), attempt.failed ? TimeUse::restart : TimeUse::idle);
  }
}

// What goes on since the last thing that is known.
TimeUse present(const Attempt& last) {
  if (last.failed) return TimeUse::restart;
  if (last.stopped) return TimeUse::idle;
  return last.items.empty() ? TimeUse::restart : TimeUse::useful;
}

}  // namespace

std::string_view to_string(TimeUse use) {
  constexpr std::string_view names[] = {"useful",    "evaluation", "recomputed", "checkpoint",
                                        "detection", "restart",    "idle"};
  return names[static_cast<std::size_t>(use)];
}

double Ledger::wall() const { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }

double Ledger::share(TimeUse use) const {
  const double whole = wall();
  return whole > 0 ? (*this)[use] / whole : 0;
}

Ledger make_ledger(const MetricsHistory& rows, std::span<const EventRecord> events, std::span<const EpochRecord> epochs,
                   std::optional<double> now) {
  Attempts attempts;
  add_rows(attempts, rows);
  for (const EventRecord& event : events) add_event(attempts[event.attempt], event);
  add_epochs(attempts, epochs);
  Ledger ledger;
  Painter painter(beginning(attempts), ledger);
  std::vector<std::int64_t> safe(attempts.size() + 1, kNowhere);
  size_t place = attempts.size();
  for (auto attempt = attempts.rbegin(); attempt != attempts.rend(); ++attempt, --place)
    safe[place - 1] = std::min(safe[place], attempt->second.resumed);
  bool failed = false;
  for (auto& [number, attempt] : attempts) {
    painter.until(beginning(attempt), failed && attempt.restart ? TimeUse::restart : TimeUse::idle);
    paint(painter, attempt, safe[++place], ledger);
    failed = attempt.failed;
  }
  if (now && !attempts.empty()) painter.until(*now, present(attempts.rbegin()->second));
  return ledger;
}

Ledger read_ledger(const RunDirectory& run) {
  return make_ledger(read_metrics_rows(run.metrics()), read_events(run.events()), read_epochs(run.epochs()));
}

std::string ledger_line(const Ledger& ledger) {
  if (ledger.wall() <= 0) return {};
  std::string line = human_duration(ledger.wall()) + ":";
  for (std::size_t i = 0; i < kTimeUses; ++i) {
    const auto use = static_cast<TimeUse>(i);
    if (i > 0 && ledger.share(use) < 0.0005) continue;
    line += fmt::format("{} {} {:.1f}%", i == 0 ? "" : ",", to_string(use), 100 * ledger.share(use));
  }
  if (ledger.lost_steps > 0)
    line += fmt::format("; {} step{} lost", ledger.lost_steps, ledger.lost_steps == 1 ? "" : "s");
  return line;
}

}  // namespace trident
