#include "launch/status/watch_screen.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "core/error.h"
#include "train/metrics/human_text.h"
#include "train/metrics/json_fields.h"
#include "train/metrics/ledger.h"
#include "train/metrics/sparkline.h"

namespace trident {
namespace {

using json_fields::integer;
using json_fields::text;
using nlohmann::json;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr int kPlotRows = 4, kPlotColumns = 64, kScaleColumns = 12;
constexpr int kRanksShown = 16, kEventsShown = 8;

enum class Tone { plain, bold, soft, good, bad };

double number(const json& object, const char* key) { return json_fields::number(object, key, kNone); }

const json& part(const json& object, const char* key) {
  static const json nothing = json::object();
  const auto found = object.find(key);
  return found != object.end() ? *found : nothing;
}

// What a run says must not steer the terminal.
std::string harmless(std::string_view said) {
  std::string out;
  for (const char character : said) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte >= 0x20 && byte != 0x7f)
      out += character;
    else if (!out.ends_with(' '))
      out += ' ';
  }
  // C1 controls, as UTF-8 writes them.
  for (size_t at = out.find('\xc2'); at != std::string::npos; at = out.find('\xc2', at + 1)) {
    if (at + 1 < out.size() && static_cast<unsigned char>(out[at + 1]) < 0xa0) out.replace(at, 2, "?");
  }
  return out;
}

bool starts_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U; }

std::string clipped(const std::string& line, int columns) {
  const auto width = std::count_if(line.begin(), line.end(), starts_character);
  if (columns <= 0 || width <= columns) return line;
  size_t end = 0;
  for (int seen = 0; end < line.size(); ++end) {
    if (starts_character(line[end]) && seen++ == columns - 1) break;
  }
  return line.substr(0, end) + "…";
}

class Screen {
 public:
  explicit Screen(const ConsoleStyle& style) : style_(style) {}
  void line(const std::string& said, Tone tone = Tone::plain) {
    const std::string shown = clipped(said, style_.columns);
    const bool coloured = style_.colour == Colour::ansi && tone != Tone::plain;
    lines_.push_back(coloured ? code(tone) + shown + "\x1b[0m" : shown);
  }
  // Texts beside one another, on as many lines as they need.
  void flow(const std::vector<std::string>& texts) {
    std::string row;
    for (const std::string& each : texts) {
      const bool full = style_.columns > 0 && !row.empty() && row.size() + 3 + each.size() > size_t(style_.columns);
      if (full) line(row), row.clear();
      row += (row.empty() ? "" : " | ") + each;
    }
    if (!row.empty()) line(row);
  }
  [[nodiscard]] std::string text(int rows) const {
    const size_t most = rows > 0 ? static_cast<size_t>(rows) : lines_.size();
    std::string out;
    for (size_t i = 0; i < std::min(most, lines_.size()); ++i) out += lines_[i] + "\n";
    return out;
  }
  [[nodiscard]] int columns() const { return style_.columns; }

 private:
  static std::string code(Tone tone) {
    switch (tone) {
      case Tone::bold: return "\x1b[1m";
      case Tone::soft: return "\x1b[2m";
      case Tone::good: return "\x1b[32m";
      case Tone::bad: return "\x1b[31m";
      default: return "";
    }
  }

  ConsoleStyle style_;
  std::vector<std::string> lines_;
};

std::string value_text(double value) { return std::isfinite(value) ? fmt::format("{:.4f}", value) : "n/a"; }

void add_head(Screen& screen, const json& state) {
  const bool healthy = state.value("healthy", json()) == true;
  screen.line(harmless(fmt::format("{}  {}", text(part(state, "run"), "name"), text(state, "state"))),
              healthy ? Tone::good : Tone::bad);
  if (const std::string reason = harmless(text(state, "reason")); !reason.empty()) screen.line(reason, Tone::soft);
  const json& mesh = part(state, "mesh");
  if (integer(mesh, "dp").value_or(0) > 0)
    screen.line(fmt::format("epoch {}, dp {} tp {} pp {}", integer(state, "epoch").value_or(0), mesh.value("dp", 0),
                            mesh.value("tp", 0), mesh.value("pp", 0)));
}

void add_progress(Screen& screen, const json& state) {
  const int64_t total = integer(state, "total_steps").value_or(0);
  std::vector<std::string> texts{
      fmt::format("step {}{}", integer(state, "step").value_or(0), total > 0 ? fmt::format("/{}", total) : ""),
      "loss " + value_text(number(state, "loss"))};
  if (std::isfinite(number(state, "val_loss"))) texts.push_back("val " + value_text(number(state, "val_loss")));
  texts.push_back(human_count(number(state, "tokens_per_s")) + " tok/s");
  texts.push_back("eta " + human_duration(number(state, "eta_s")));
  const json& checkpoints = part(state, "checkpoints");
  if (const auto step = integer(checkpoints, "last_step")) texts.push_back(fmt::format("checkpoint {}", *step));
  screen.flow(texts);
}

void add_curve(Screen& screen, const json& curve) {
  std::vector<int64_t> steps;
  std::vector<double> values;
  const json& xs = part(curve, "steps");
  const json& ys = part(curve, "values");
  if (!xs.is_array() || !ys.is_array()) return;
  for (size_t i = 0; i < std::min(xs.size(), ys.size()); ++i) {
    if (!xs[i].is_number_integer()) continue;
    steps.push_back(xs[i].get<int64_t>());
    values.push_back(ys[i].is_number() ? ys[i].get<double>() : kNone);
  }
  const int columns = screen.columns() == 0 ? kPlotColumns : std::clamp(screen.columns() - kScaleColumns, 16, 64);
  const std::string plot = braille_plot(steps, values, columns, kPlotRows);
  for (size_t at = 0; at < plot.size();) {
    const size_t end = std::min(plot.find('\n', at), plot.size());
    screen.line(plot.substr(at, end - at));
    at = end + 1;
  }
}

void add_ledger(Screen& screen, const json& ledger) {
  const double wall = number(ledger, "wall_s");
  const json& seconds = part(ledger, "seconds");
  if (!(wall > 0)) return;
  std::vector<std::string> texts{"wall time " + human_duration(wall)};
  for (size_t i = 0; i < kTimeUses; ++i) {
    const std::string use(to_string(static_cast<TimeUse>(i)));
    const double share = number(seconds, use.c_str()) / wall;
    if (i == 0 || share >= 0.0005) texts.push_back(fmt::format("{} {:.1f}%", use, 100 * share));
  }
  screen.flow(texts);
}

bool is_bad(const json& rank) {
  return rank.value("straggler", json()) == true || text(rank, "state") == "stopped" ||
         number(rank, "idle_s") > number(rank, "limit_s");
}

void add_rank(Screen& screen, const json& rank) {
  const double ratio = number(rank, "ratio");
  const double busy = number(rank, "busy_s");
  screen.line(harmless(fmt::format(
                  "{:>5} {:<8} {:>7} {:>8} {:>6} {:<20} {}", integer(rank, "rank").value_or(-1), text(rank, "state"),
                  integer(rank, "step").value_or(0), busy > 0 ? human_seconds(busy) : "",
                  std::isfinite(ratio) ? fmt::format("{:.2f}x", ratio) : "", text(rank, "phase"), text(rank, "host"))),
              is_bad(rank) ? Tone::bad : Tone::plain);
}

// Those that stand out first, where not all find room.
void add_ranks(Screen& screen, const json& ranks) {
  if (!ranks.is_array() || ranks.empty()) return;
  std::vector<const json*> order;
  for (const json& rank : ranks) {
    if (rank.is_object()) order.push_back(&rank);
  }
  if (order.size() > kRanksShown)
    std::stable_partition(order.begin(), order.end(), [](const json* rank) { return is_bad(*rank); });
  screen.line(
      fmt::format("{:>5} {:<8} {:>7} {:>8} {:>6} {:<20} {}", "rank", "state", "step", "work", "peers", "at", "host"),
      Tone::soft);
  for (size_t i = 0; i < std::min<size_t>(order.size(), kRanksShown); ++i) add_rank(screen, *order[i]);
  if (order.size() > kRanksShown) screen.line(fmt::format("      … {} more", order.size() - kRanksShown), Tone::soft);
}

void add_stragglers(Screen& screen, const json& spans) {
  if (!spans.is_array()) return;
  for (const json& span : spans) {
    if (!span.is_object() || integer(span, "last_step")) continue;
    const double ratio = number(span, "ratio");
    screen.line(harmless(fmt::format("straggler: rank {} on {} since step {}{}", integer(span, "rank").value_or(-1),
                                     text(span, "host"), integer(span, "first_step").value_or(0),
                                     ratio > 0 ? fmt::format(", {:.2f} times its peers' median", ratio) : "")),
                Tone::bad);
  }
}

void add_events(Screen& screen, const json& events) {
  if (!events.is_array() || events.empty()) return;
  screen.line("last events", Tone::soft);
  for (size_t i = 0; i < std::min<size_t>(events.size(), kEventsShown); ++i) {
    const json& event = events[i];
    if (!event.is_object()) continue;
    const std::string what = text(event, "event");
    const std::string ts = text(event, "ts");
    std::string said = text(event, "detail");
    if (said.empty()) said = text(event, "cause");
    screen.line(harmless(fmt::format("{} {} step {}{}", ts.size() >= 19 ? ts.substr(11, 8) : ts, what,
                                     integer(event, "step").value_or(0), said.empty() ? "" : ": " + said)),
                what == "fault" || what == "verdict" ? Tone::bad : Tone::plain);
  }
}

}  // namespace

std::string watch_screen(std::string_view state, const std::string& from, const ConsoleStyle& style, int rows) {
  const json object = json::parse(state, nullptr, false);
  if (!object.is_object())
    throw Error(ErrorCode::bad_data, "watch", "the run's state is no JSON object",
                "is it a trident that answers there?");
  Screen screen(style);
  add_head(screen, object);
  add_progress(screen, object);
  add_ledger(screen, part(object, "ledger"));
  add_curve(screen, part(part(object, "curves"), "loss"));
  add_stragglers(screen, part(object, "stragglers"));
  add_ranks(screen, part(object, "ranks"));
  add_events(screen, part(object, "events"));
  const std::string body = screen.text(rows > 1 ? rows - 1 : rows);
  return body + clipped(harmless("from " + from), style.columns) + "\n";
}

}  // namespace trident
