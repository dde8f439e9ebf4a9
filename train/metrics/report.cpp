#include "train/metrics/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string_view>

#include "core/atomic_file.h"
#include "train/metrics/html_text.h"
#include "train/metrics/human_text.h"
#include "train/metrics/report_charts.h"
#include "train/metrics/report_operation.h"
#include "train/metrics/svg_chart.h"

namespace trident {
namespace {

constexpr std::string_view page_style = R"(
:root{color-scheme:light dark;--back:#f5f6f8;--tint:#eef1f5}
@media (prefers-color-scheme:dark){:root{--back:#0f1215;--tint:#1f252c}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);
font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1220px;margin:0 auto;padding:28px 20px 60px}
header{display:flex;flex-wrap:wrap;align-items:baseline;gap:6px 14px;margin-bottom:16px}
h1{font-size:24px;margin:0;letter-spacing:-.01em}
h2{font-size:15px;margin:0 0 10px}
.soft{color:var(--soft)}.right{margin-left:auto}
.state{border-radius:999px;padding:1px 10px;font-size:12px;font-weight:600;border:1px solid currentColor}
.good{color:var(--c3)}.warn{color:var(--warn)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(158px,1fr));gap:12px;margin-bottom:14px}
.card,section{background:var(--paper);border:1px solid var(--rule);border-radius:10px}
.card{padding:11px 14px}
.card b{display:block;font-size:21px;font-weight:600;letter-spacing:-.01em;font-variant-numeric:tabular-nums;line-height:1.3}
.card span{color:var(--soft);font-size:12px;display:block}
section{padding:14px 16px;margin-bottom:14px;min-width:0}
section.plot{padding:10px 6px 4px}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:0 14px}
.share{display:flex;height:12px;border-radius:6px;overflow:hidden;margin:4px 14px 6px 58px}
.share i{display:block;height:100%}
.shares{margin:0 14px 10px 58px;color:var(--soft);font-size:12px;display:flex;flex-wrap:wrap;gap:2px 16px}
.whole.share,.whole.shares{margin-left:0;margin-right:0}
.shares i{display:inline-block;width:9px;height:9px;border-radius:2px;margin-right:5px}
i.c1{background:var(--c1)}i.c2{background:var(--c2)}i.c3{background:var(--c3)}i.c4{background:var(--c4)}
i.c5{background:var(--c5)}i.c6{background:var(--c6)}i.c7{background:var(--c7)}
.scroll{overflow-x:auto;max-height:480px;overflow-y:auto}
table{border-collapse:collapse;width:100%;font-size:13px}
th{position:sticky;top:0;background:var(--paper);text-align:left;color:var(--soft);font-weight:500;font-size:12px}
td,th{padding:4px 14px 4px 0;border-bottom:1px solid var(--rule);vertical-align:top;white-space:nowrap}
td.wide{white-space:normal;min-width:220px;overflow-wrap:anywhere}
td.num,th.num{text-align:right;font-variant-numeric:tabular-nums}
table.narrow{width:auto}h2 .soft{font-weight:400}.narrow td,.narrow th{padding-right:36px}
tr.fault td{color:var(--warn)}
pre{margin:0;font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre-wrap;overflow-wrap:anywhere}
.sample{background:var(--tint);border-radius:8px;padding:9px 12px;margin-top:4px}
.sample+.soft{margin-top:12px}
footer{color:var(--soft);font-size:12px;margin-top:18px}
@media print{body{background:#fff}section,.card{break-inside:avoid}}
)";

std::string cut(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return html_escape(text);
  // A character cut in half would show as U+FFFD: go back to its start.
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0U) == 0x80U) --limit;
  return html_escape(text.substr(0, limit)) + " …";
}

std::string number(double value) { return std::isfinite(value) ? fmt::format("{:.4g}", value) : "not finite"; }

std::string with_commas(std::int64_t value) {
  std::string digits = fmt::format("{}", value);
  const std::size_t first = value < 0 ? 1 : 0;
  for (std::size_t i = digits.size(); i > first + 3;) {
    i -= 3;
    digits.insert(i, 1, ',');
  }
  return digits;
}

template <class Get>
std::optional<double> median(const std::vector<StepMetrics>& steps, Get get) {
  std::vector<double> values;
  for (const StepMetrics& step : steps) {
    if (const double value = get(step); std::isfinite(value)) values.push_back(value);
  }
  if (values.empty()) return std::nullopt;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void card(std::string& out, std::string_view label, const std::string& value, const std::string& note) {
  out += fmt::format("<div class=\"card\"><span>{}</span><b>{}</b><span>{}</span></div>\n", label, html_escape(value),
                     note.empty() ? "&nbsp;" : html_escape(note));
}

void progress_cards(std::string& out, const ReportData& data) {
  const auto& steps = data.history.steps;
  const StepMetrics last = steps.empty() ? StepMetrics{} : steps.back();
  const std::int64_t total = data.facts.total_steps;
  card(out, "Steps", with_commas(last.step), total > 0 ? "of " + with_commas(total) : "");
  if (!steps.empty()) {
    const std::size_t tail = std::min<std::size_t>(steps.size(), 20);
    const std::vector<StepMetrics> recent(steps.end() - static_cast<std::ptrdiff_t>(tail), steps.end());
    const auto loss = median(recent, [](const StepMetrics& step) { return step.loss; });
    card(out, "Final training loss", loss ? number(*loss) : "not finite", fmt::format("median of last {}", tail));
  }
  const EvalMetrics* best = nullptr;
  for (const EvalMetrics& evaluation : data.history.evaluations) {
    if (std::isfinite(evaluation.val_loss) && (best == nullptr || evaluation.val_loss < best->val_loss)) {
      best = &evaluation;
    }
  }
  if (best != nullptr) {
    card(out, "Best validation loss", number(best->val_loss),
         fmt::format("step {}, perplexity {:.4g}", with_commas(best->step), std::exp(best->val_loss)));
  }
  const double tokens = static_cast<double>(last.tokens);
  const std::int64_t parameters = data.facts.parameters;
  card(out, "Tokens", human_count(tokens),
       parameters > 0 ? fmt::format("{:.3g} for each parameter", tokens / static_cast<double>(parameters)) : "");
  if (parameters > 0) card(out, "Parameters", human_count(static_cast<double>(parameters)), with_commas(parameters));
}

void speed_cards(std::string& out, const ReportData& data) {
  const auto& steps = data.history.steps;
  if (steps.empty()) return;
  const auto speed = median(steps, [](const StepMetrics& step) { return step.tokens_per_s; });
  const int ranks = data.facts.ranks;
  if (speed) {
    card(out, "Throughput, tokens/s", human_count(*speed),
         ranks > 1 ? fmt::format("median; {} a rank, {} ranks", human_count(*speed / ranks), ranks) : "median");
  }
  if (const auto mfu = median(steps, [](const StepMetrics& step) { return step.mfu.value_or(NAN); })) {
    card(out, "MFU", fmt::format("{:.1f}%", *mfu * 100), "median");
  }
  if (const auto seconds = median(steps, [](const StepMetrics& step) { return step.step_s; })) {
    card(out, "Step time", human_seconds(*seconds), "median");
  }
  double kept = 0;
  double memory = 0;
  for (const StepMetrics& step : steps) {
    if (std::isfinite(step.step_s)) kept += step.step_s;
    if (std::isfinite(step.memory_gib_max)) memory = std::max(memory, step.memory_gib_max);
  }
  card(out, "Time in steps", human_duration(kept), "");
  if (memory > 0) card(out, "Peak memory", fmt::format("{:.3g} GiB", memory), "highest rank");
  const int attempts = std::max(data.history.last_attempt, 1);
  card(out, "Restarts", fmt::format("{}", attempts - 1), attempts > 1 ? fmt::format("{} attempts", attempts) : "");
}

std::string page_title(const ReportData& data) {
  return data.facts.run_name.empty() ? "Training run" : cut(data.facts.run_name, 200);
}

// How the run stands: what its last start, stop or fault says.
std::string state(const ReportData& data) {
  std::string_view text = "no stop recorded";
  std::string_view kind = "soft";
  const std::int64_t last = data.history.steps.empty() ? 0 : data.history.steps.back().step;
  for (const EventRecord& event : data.events) {
    if (event.event == RunEvent::stop) {
      const bool complete = data.facts.total_steps > 0 && last >= data.facts.total_steps;
      text = complete ? "complete" : "stopped";
      kind = complete ? "good" : "soft";
    } else if (event.event == RunEvent::fault || event.event == RunEvent::verdict) {
      text = "fault";
      kind = "warn";
    } else if (event.event == RunEvent::start || event.event == RunEvent::resume || event.event == RunEvent::restart) {
      text = "no stop recorded";
      kind = "soft";
    }
  }
  return fmt::format(R"(<span class="state {}">{}</span>)", kind, text);
}

std::string page_header(const ReportData& data) {
  std::string origin;
  if (!data.events.empty()) {
    origin = html_escape(data.events.front().ts.substr(0, 19)) + " UTC";
    if (!data.events.front().host.empty()) origin += " on " + cut(data.events.front().host, 100);
  }
  return fmt::format("<header><h1>{}</h1>{}<span class=\"soft right\">{}</span></header>\n", page_title(data),
                     state(data), origin);
}

std::string plot(const std::string& svg) { return fmt::format("<section class=\"plot\">{}</section>\n", svg); }

// The whole run's time, phase by phase, as one bar with its legend.
std::string phase_shares(const Chart& phases) {
  double total = 0;
  std::vector<double> sums;
  for (const ChartSeries& series : phases.series) {
    double sum = 0;
    for (const double value : series.values) sum += std::isfinite(value) && value > 0 ? value : 0;
    sums.push_back(sum);
    total += sum;
  }
  if (!(total > 0) || !std::isfinite(total)) return {};
  std::string bar;
  std::string legend;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const double share = 100 * sums[i] / total;
    if (share < 0.05) continue;
    bar += fmt::format(R"(<i class="{}" style="width:{:.2f}%"></i>)", phases.series[i].colour, share);
    legend += fmt::format("<span><i class=\"{}\"></i>{} {:.1f}% · {}</span>", phases.series[i].colour,
                          phases.series[i].name, share, human_duration(sums[i]));
  }
  return fmt::format("<div class=\"share\">{}</div><div class=\"shares\">{}</div>", bar, legend);
}

std::string charts(const ReportData& data) {
  const MetricsHistory& history = data.history;
  std::string out = plot(line_chart(loss_chart(history))) + "<div class=\"two\">";
  out += plot(line_chart(learning_rate_chart(history)));
  out += plot(line_chart(gradient_norm_chart(history)));
  out += plot(line_chart(throughput_chart(history)));
  const auto has_mfu = [](const StepMetrics& step) { return step.mfu.has_value(); };
  if (std::any_of(history.steps.begin(), history.steps.end(), has_mfu)) out += plot(line_chart(mfu_chart(history)));
  out += plot(line_chart(memory_chart(history))) + "</div>";
  Chart phases = phase_chart(history);
  const std::string shares = phase_shares(phases);
  if (!shares.empty()) {
    for (ChartSeries& series : phases.series) series.name.clear();  // the bar's legend names them
  }
  return out + plot(stacked_chart(phases) + shares);
}

std::string outlier_table(const ReportData& data) {
  constexpr std::size_t shown = 20;
  std::vector<Outlier> outliers = find_outliers(data.history);
  if (outliers.empty()) return {};
  const std::size_t total = outliers.size();
  std::stable_sort(outliers.begin(), outliers.end(), [](const Outlier& a, const Outlier& b) { return a.z > b.z; });
  outliers.resize(std::min(outliers.size(), shown));
  std::string out =
      "<section><h2>Outliers <span class=\"soft\">more than 4 standard deviations above the 128 steps before";
  if (total > shown) out += fmt::format("; the worst {} of {}", shown, with_commas(static_cast<std::int64_t>(total)));
  out +=
      "</span></h2><div class=\"scroll\"><table class=\"narrow\"><tr><th class=\"num\">step</th>"
      "<th>quantity</th>"
      "<th class=\"num\">value</th><th class=\"num\">z</th></tr>\n";
  for (const Outlier& outlier : outliers) {
    out +=
        fmt::format("<tr><td class=\"num\">{}</td><td>{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td></tr>\n",
                    with_commas(outlier.step), outlier.quantity, number(outlier.value),
                    std::isfinite(outlier.z) ? fmt::format("{:+.1f}", outlier.z) : "");
  }
  return out + "</table></div></section>\n";
}

std::string samples(const ReportData& data) {
  constexpr std::size_t shown = 8;
  std::vector<const EventRecord*> all;
  for (const EventRecord& event : data.events) {
    if (event.event == RunEvent::sample) all.push_back(&event);
  }
  if (all.empty()) return {};
  std::string out = "<section><h2>Samples</h2>";
  // Spread over the run, the first and the last among them: they show how the model learnt.
  const std::size_t count = std::min(shown, all.size());
  for (std::size_t i = 0; i < count; ++i) {
    const EventRecord& event = *all[count > 1 ? i * (all.size() - 1) / (count - 1) : 0];
    out += fmt::format("<div class=\"soft\">step {}</div><pre class=\"sample\">{}</pre>\n", with_commas(event.step),
                       cut(event.detail, 2000));
  }
  return out + "</section>\n";
}

void append_after(std::string& out, std::string_view separator, const std::string& more) {
  if (more.empty()) return;
  if (!out.empty()) out += separator;
  out += more;
}

std::string event_row(const EventRecord& event) {
  const bool fault = event.event == RunEvent::fault || event.event == RunEvent::verdict;
  std::string place = event.rank ? fmt::format("rank {}", *event.rank) : "";
  append_after(place, ", ", cut(event.host, 60));
  std::string what = cut(event.cause, 200);
  append_after(what, ", ", event.phase.empty() ? "" : fmt::format("in {}", cut(event.phase, 60)));
  append_after(what, ": ", cut(event.detail, 300));
  return fmt::format(
      "<tr{}><td>{}</td><td>{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td>{}</td>"
      "<td class=\"num\">{}</td><td class=\"wide\">{}</td></tr>\n",
      fault ? " class=\"fault\"" : "", cut(event.ts, 30), to_string(event.event), event.attempt,
      with_commas(event.step), place, event.seconds ? human_seconds(*event.seconds) : "", what);
}

std::string event_table(const ReportData& data) {
  constexpr std::size_t head = 40;
  constexpr std::size_t tail = 160;
  std::vector<const EventRecord*> all;
  for (const EventRecord& event : data.events) {
    if (event.event != RunEvent::sample) all.push_back(&event);
  }
  if (all.empty()) return {};
  std::string out =
      "<section><h2>Events</h2><div class=\"scroll\"><table><tr><th>time (UTC)</th><th>event</th>"
      "<th class=\"num\">attempt</th><th class=\"num\">step</th><th>where</th><th class=\"num\">took</th>"
      "<th>what</th></tr>\n";
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all.size() > head + tail && i == head) {
      i = all.size() - tail;
      out += fmt::format("<tr><td colspan=\"7\" class=\"soft\">{} more in events.jsonl</td></tr>\n", i - head);
    }
    out += event_row(*all[i]);
  }
  return out + "</table></div></section>\n";
}

std::string configuration(const ReportData& data) {
  if (data.config.empty()) return {};
  return fmt::format(
      "<section><h2>Configuration <span class=\"soft\">config.resolved.yaml</span></h2>"
      "<div class=\"scroll\"><pre>{}</pre></div></section>\n",
      cut(data.config, std::size_t{64} << 10U));
}

}  // namespace

std::string render_report(const ReportData& data) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">";
  out += fmt::format("<title>{} · Trident</title><style>{}{}</style></head>\n<body><main>\n", page_title(data),
                     chart_style(), page_style);
  out += page_header(data) + "<div class=\"cards\">\n";
  progress_cards(out, data);
  speed_cards(out, data);
  out += "</div>\n" + ledger_section(data.ledger) + charts(data) + outlier_table(data);
  out += straggler_section(find_stragglers(data.events)) + samples(data) + event_table(data) + configuration(data);
  out += "<footer>Made by trident from metrics.jsonl, events.jsonl and epochs.jsonl.";
  if (data.history.unreadable_lines > 0) {
    out += fmt::format(" {} unreadable lines were passed over.", data.history.unreadable_lines);
  }
  return out + "</footer>\n</main></body></html>\n";
}

ReportData load_report_data(const RunDirectory& run, const RunFacts& facts) {
  ReportData data{.facts = facts,
                  .history = read_metrics_rows(run.metrics()),
                  .events = read_events(run.events()),
                  .config = run.read_config()};
  data.ledger = make_ledger(data.history, data.events, read_epochs(run.epochs()));
  keep_highest_attempts(data.history);
  if (data.facts.run_name.empty()) data.facts.run_name = run.root().filename().string();
  return data;
}

void write_report(const RunDirectory& run, const RunFacts& facts) {
  write_file_atomically(run.report(), render_report(load_report_data(run, facts)));
}

void write_loss_curve(const MetricsHistory& history, const std::filesystem::path& svg) {
  Chart chart = loss_chart(history);
  chart.width = 820;
  chart.height = 320;
  write_file_atomically(svg, standalone_svg(line_chart(chart)));
}

}  // namespace trident
