#include "launch/epoch_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "train/metrics/append_file.h"
#include "train/metrics/events_file.h"
#include "train/metrics/json_text.h"

namespace trident {
namespace {

constexpr const char* kComponent = "launch/epoch_log";

std::string opening(std::string_view event, int64_t epoch) {
  return fmt::format(R"({{"v":1,"ts":"{}","event":"{}","epoch":{})", utc_timestamp(std::chrono::system_clock::now()),
                     event, epoch);
}

void add_text(std::string& line, std::string_view key, std::string_view value) {
  line += fmt::format(",\"{}\":", key);
  json_text::append_string(line, value);
}

int64_t epoch_of(std::string_view line) {
  const auto object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object()) return 0;
  const auto found = object.find("epoch");
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

}  // namespace

EpochLog::EpochLog(const std::filesystem::path& path) : path_(path) {
  truncate_torn_line(path);
  for_each_line(path, [this](std::string_view line) { last_epoch_ = std::max(last_epoch_, epoch_of(line)); });
  file_ = UniqueDescriptor(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
  if (!file_.is_open()) throw system_error(errno, kComponent, "cannot open " + path.string());
}

void EpochLog::begin(int64_t epoch, const MeshShape& mesh, const std::vector<std::pair<std::string, int>>& hosts) {
  TRIDENT_CHECK(epoch > last_epoch_);
  std::string line = opening("begin", epoch) +
                     fmt::format(R"(,"ranks":{},"dp":{},"tp":{},"pp":{})", mesh.ranks(), mesh.dp, mesh.tp, mesh.pp);
  const char* separator = R"(,"hosts":[)";
  for (const auto& [host, ranks] : hosts) {
    line += std::exchange(separator, ",") + std::string(R"({"host":)");
    json_text::append_string(line, host);
    line += fmt::format(R"(,"ranks":{}}})", ranks);
  }
  if (!hosts.empty()) line += "]";
  append(line + (std::exchange(first_, false) ? R"(,"first":true})" : "}"));
  last_epoch_ = epoch;
}

// No epoch that has begun: readers look for that under its own key.
void EpochLog::coordinator(int64_t epoch, const std::string& host) {
  std::string line = fmt::format(R"({{"v":1,"ts":"{}","event":"coordinator","from_epoch":{})",
                                 utc_timestamp(std::chrono::system_clock::now()), epoch);
  add_text(line, "host", host);
  append(line + "}");
  first_ = false;
}

void EpochLog::workers(int64_t epoch, const std::vector<int64_t>& pids) {
  append(opening("workers", epoch) + fmt::format(R"(,"pids":[{}]}})", fmt::join(pids, ",")));
}

void EpochLog::end(int64_t epoch, const std::string& outcome, int64_t committed, const Verdict* verdict) {
  std::string line = opening("end", epoch);
  add_text(line, "outcome", outcome);
  if (committed >= 0) line += fmt::format(R"(,"committed":{})", committed);
  if (verdict != nullptr) {
    line += fmt::format(R"(,"rank":{})", verdict->rank);
    if (!verdict->host.empty()) add_text(line, "host", verdict->host);
    add_text(line, "cause", to_string(verdict->cause));
    add_text(line, "verdict", verdict->sentence());
  }
  append(line + "}");
}

void EpochLog::append(const std::string& line) {
  const std::string whole = line + "\n";
  const ssize_t written = ::write(file_.get(), whole.data(), whole.size());
  if (written != static_cast<ssize_t>(whole.size()) || ::fdatasync(file_.get()) != 0)
    throw system_error(written < 0 ? errno : EIO, kComponent, "cannot write to " + path_.string(),
                       "an agent that cannot say which epoch it owns must not start one: make room");
}

}  // namespace trident
