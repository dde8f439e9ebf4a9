#include "train/metrics/report_operation.h"

#include <fmt/format.h>

#include <algorithm>

#include "train/metrics/html_text.h"
#include "train/metrics/human_text.h"

namespace trident {
namespace {

constexpr std::size_t kShown = 100;

// Colours of the page's style, in the order of TimeUse.
constexpr const char* kColours[kTimeUses] = {"c3", "c1", "c2", "c6", "c5", "c4", "c7"};

std::string span_text(double seconds) { return seconds < 10 ? human_seconds(seconds) : human_duration(seconds); }

std::string straggler_row(const StragglerSpan& span) {
  const std::string until = span.last_step ? fmt::format("{}", *span.last_step) : "the end";
  const std::string ratio = span.ratio > 0 ? fmt::format("{:.2f}×", span.ratio) : "";
  return fmt::format(
      "<tr><td class=\"num\">{}</td><td>{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td>"
      "<td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td></tr>\n",
      span.rank, html_escape(span.host.substr(0, 60)), span.attempt, span.first_step, until, ratio,
      human_seconds(span.busy_seconds));
}

}  // namespace

std::string ledger_section(const Ledger& ledger) {
  if (!(ledger.wall() > 0)) return {};
  std::string bar, legend;
  for (std::size_t i = 0; i < kTimeUses; ++i) {
    const auto use = static_cast<TimeUse>(i);
    const double percent = 100 * ledger.share(use);
    if (percent <= 0) continue;
    bar += fmt::format(R"(<i class="{}" style="width:{:.2f}%"></i>)", kColours[i], percent);
    legend += fmt::format("<span><i class=\"{}\"></i>{} {:.1f}% · {}</span>", kColours[i], to_string(use), percent,
                          span_text(ledger[use]));
  }
  const std::string lost = ledger.lost_steps > 0 ? fmt::format(", {} steps lost", ledger.lost_steps) : "";
  return fmt::format(
      "<section><h2>Effective training time {:.1f}% <span class=\"soft\">of {} wall time, all attempts{}</span></h2>"
      "<div class=\"share whole\">{}</div><div class=\"shares whole\">{}</div></section>\n",
      100 * ledger.goodput(), span_text(ledger.wall()), lost, bar, legend);
}

std::string straggler_section(std::span<const StragglerSpan> stragglers) {
  if (stragglers.empty()) return {};
  std::string out =
      "<section><h2>Stragglers <span class=\"soft\">work at a step against the median of the peers</span></h2>"
      "<div class=\"scroll\"><table class=\"narrow\"><tr><th class=\"num\">rank</th><th>host</th>"
      "<th class=\"num\">attempt</th><th class=\"num\">from step</th><th class=\"num\">to step</th>"
      "<th class=\"num\">ratio</th><th class=\"num\">work</th></tr>\n";
  for (const StragglerSpan& span : stragglers.first(std::min(kShown, stragglers.size()))) out += straggler_row(span);
  if (stragglers.size() > kShown)
    out += fmt::format("<tr><td colspan=\"7\" class=\"soft\">{} more in events.jsonl</td></tr>\n",
                       stragglers.size() - kShown);
  return out + "</table></div></section>\n";
}

}  // namespace trident
