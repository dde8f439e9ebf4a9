#include "launch/status/run_files.h"

#include <fstream>
#include <utility>

namespace trident {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 18U;
constexpr std::size_t kLongestLine = std::size_t{1} << 20U;

}  // namespace

void FileTail::read(const std::function<void(std::string_view)>& use) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path_, ignored)) return;
  std::ifstream file(path_, std::ios::binary);
  file.seekg(offset_);
  std::vector<char> block(kBlock);
  std::string line;
  std::int64_t begin = offset_;  // of the block
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0) {
    const std::string_view text(block.data(), static_cast<std::size_t>(file.gcount()));
    std::size_t at = 0;
    for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n', at)) {
      line.append(text.substr(at, end - at));
      at = end + 1;
      offset_ = begin + static_cast<std::int64_t>(at);
      if (line.size() <= kLongestLine) use(line);
      line.clear();
    }
    if (line.size() <= kLongestLine) line.append(text.substr(at));
    begin += static_cast<std::int64_t>(text.size());
  }
}

RunFiles::RunFiles(const RunDirectory& run)
    : metrics_file_(run.metrics()), events_file_(run.events()), epochs_file_(run.epochs()) {}

void RunFiles::update() {
  metrics_file_.read([this](std::string_view line) {
    if (!add_metrics_row(line, rows_)) ++rows_.unreadable_lines;
  });
  events_file_.read([this](std::string_view line) { add_event(line); });
  epochs_file_.read([this](std::string_view line) { (void)add_epoch_line(line, epochs_); });
}

void RunFiles::add_event(std::string_view line) {
  auto event = parse_event(line);
  if (!event) return;
  events_.push_back(std::move(*event));
  if (events_.size() > kDetails) events_[events_.size() - kDetails - 1].detail = {};
}

}  // namespace trident
