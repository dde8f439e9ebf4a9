#include "train/metrics/step_line.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "train/metrics/human_text.h"

namespace trident {
namespace {

constexpr std::string_view reset = "\x1b[0m";
constexpr std::string_view bold = "\x1b[1m";
constexpr std::string_view dim = "\x1b[2m";
constexpr std::string_view yellow = "\x1b[33m";
constexpr std::string_view red = "\x1b[31m";

// A field of the line; the highest `rank` is dropped first. `part` follows the text within the field and is dropped
// by its own rank.
struct Field {
  std::string text;
  int rank = 0;
  std::string part{};
  int part_rank = 0;
  std::string_view colour{};
  std::string_view part_colour{};
};

std::size_t width(const std::vector<Field>& fields) {
  std::size_t total = 0;
  for (const Field& field : fields) {
    // Only "µ" takes more bytes than columns.
    const auto wide = std::count(field.text.begin(), field.text.end(), '\xc2');
    total += field.text.size() - static_cast<std::size_t>(wide) + (field.part.empty() ? 0 : 1 + field.part.size()) + 3;
  }
  return total - std::min<std::size_t>(total, 3);
}

// Drops the least important field or part; false where only the essential is left.
bool drop_one(std::vector<Field>& fields) {
  int worst = 0;
  for (const Field& field : fields) worst = std::max({worst, field.rank, field.part.empty() ? 0 : field.part_rank});
  if (worst == 0) return false;
  std::erase_if(fields, [worst](const Field& field) { return field.rank == worst; });
  for (Field& field : fields) {
    if (field.part_rank == worst) field.part.clear();
  }
  return true;
}

std::string paint(std::string_view text, std::string_view colour, Colour mode) {
  if (mode == Colour::never || colour.empty()) return std::string(text);
  return fmt::format("{}{}{}", colour, text, reset);
}

std::string join(const std::vector<Field>& fields, Colour mode) {
  std::string line;
  for (const Field& field : fields) {
    if (!line.empty()) line += paint(" | ", dim, mode);
    line += paint(field.text, field.colour, mode);
    if (!field.part.empty()) line += ' ' + paint(field.part, field.part_colour, mode);
  }
  return line;
}

std::string z_text(const std::optional<double>& z) {
  if (!z) return {};
  return std::abs(*z) < 1000 ? fmt::format("({:+.1f}z)", *z) : fmt::format("({:+.0e}z)", *z);
}

std::string_view z_colour(const std::optional<double>& z) {
  if (!z || *z < 3) return dim;
  return *z < 6 ? yellow : red;
}

std::string number(const char* name, double value, int decimals) {
  if (!std::isfinite(value)) return fmt::format("{} {}", name, std::isnan(value) ? "nan" : "inf");
  if (std::abs(value) >= 1e5 || (value != 0 && std::abs(value) < std::pow(10.0, -decimals))) {
    return fmt::format("{} {:.2e}", name, value);
  }
  return fmt::format("{} {:.{}f}", name, value, decimals);
}

std::string phases(const PhaseSeconds& time) {
  const std::array<std::pair<const char*, double>, 4> parts{
      {{"data", time.data}, {"comm", time.comm}, {"bubble", time.bubble}, {"ckpt", time.checkpoint}}};
  std::string text;
  for (const auto& [name, seconds] : parts) {
    if (std::isfinite(seconds) && seconds >= 0.0005)
      text += fmt::format("{}{} {:.2g}", text.empty() ? "(" : " ", name, seconds);
  }
  return text.empty() ? text : text + ")";
}

}  // namespace

ConsoleStyle console_style(int descriptor) {
  if (::isatty(descriptor) == 0) return {};
  ConsoleStyle style;
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color == nullptr || *no_color == '\0') style.colour = Colour::ansi;
  winsize size{};
  style.columns = ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  return style;
}

void StepLine::observe(const StepMetrics& metrics) {
  last_ = metrics;
  loss_z_ = loss_.z_score_and_add(metrics.loss);
  grad_norm_z_ = grad_norm_.z_score_and_add(metrics.grad_norm);
  remaining_.step(metrics.step_s);
}

void StepLine::observe(const EvalMetrics& metrics) { remaining_.evaluation(metrics.step, metrics.seconds); }

std::string StepLine::text() const {
  std::vector<Field> fields;
  const std::string of_total = total_steps_ > 0 ? fmt::format("/{}", total_steps_) : "";
  const bool finite = std::isfinite(last_.loss) && std::isfinite(last_.grad_norm);
  fields.push_back({.text = fmt::format("step {}{}", last_.step, of_total)});
  fields.push_back({.text = number("loss", last_.loss, 4),
                    .part = z_text(loss_z_),
                    .part_rank = 2,
                    .colour = finite ? bold : red,
                    .part_colour = z_colour(loss_z_)});
  fields.push_back({.text = number("gnorm", last_.grad_norm, 2),
                    .rank = 3,
                    .part = z_text(grad_norm_z_),
                    .part_rank = 9,
                    .colour = finite ? std::string_view() : red,
                    .part_colour = z_colour(grad_norm_z_)});
  fields.push_back({.text = fmt::format("lr {:.1e}", last_.lr), .rank = 6});
  fields.push_back({.text = human_seconds(last_.step_s),
                    .rank = 5,
                    .part = phases(last_.time_s),
                    .part_rank = 10,
                    .part_colour = dim});
  fields.push_back({.text = human_count(last_.tokens_per_s) + " tok/s", .rank = 1});
  if (last_.mfu) fields.push_back({.text = fmt::format("MFU {:.1f}%", *last_.mfu * 100), .rank = 4});
  if (last_.memory_gib_max > 0)
    fields.push_back({.text = fmt::format("mem {:.3g}GiB", last_.memory_gib_max), .rank = 7});
  if (last_.tokens > 0) {
    fields.push_back({.text = fmt::format("tok {}", human_count(static_cast<double>(last_.tokens))), .rank = 8});
  }
  if (const auto seconds = remaining_.seconds(total_steps_ - last_.step); seconds && total_steps_ > 0) {
    fields.push_back({.text = "eta " + human_duration(*seconds), .rank = 2});
  }
  const auto limit = static_cast<std::size_t>(std::max(style_.columns, 0));
  while (limit > 0 && width(fields) > limit && drop_one(fields)) {
  }
  return join(fields, style_.colour);
}

std::string StepLine::text(const EvalMetrics& metrics) const {
  std::string line =
      fmt::format("eval {} | ", metrics.step) + paint(number("val loss", metrics.val_loss, 4), bold, style_.colour);
  if (std::isfinite(metrics.val_loss)) line += fmt::format(" | ppl {:.4g}", std::exp(metrics.val_loss));
  return line + " | " + human_seconds(metrics.seconds);
}

}  // namespace trident
