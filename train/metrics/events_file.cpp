#include "train/metrics/events_file.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cmath>
#include <ctime>
#include <limits>
#include <utility>

#include "train/metrics/append_file.h"
#include "train/metrics/json_fields.h"
#include "train/metrics/json_text.h"

namespace trident {
namespace {

using json_fields::integer;
using json_fields::text;
using nlohmann::json;

constexpr std::array names{
    std::pair{RunEvent::start, std::string_view("start")},
    std::pair{RunEvent::checkpoint_begin, std::string_view("checkpoint_begin")},
    std::pair{RunEvent::checkpoint_commit, std::string_view("checkpoint_commit")},
    std::pair{RunEvent::fault, std::string_view("fault")},
    std::pair{RunEvent::verdict, std::string_view("verdict")},
    std::pair{RunEvent::restart, std::string_view("restart")},
    std::pair{RunEvent::resume, std::string_view("resume")},
    std::pair{RunEvent::straggler, std::string_view("straggler")},
    std::pair{RunEvent::sample, std::string_view("sample")},
    std::pair{RunEvent::stop, std::string_view("stop")},
};

void text_field(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out += fmt::format(",\"{}\":", name);
  json_text::append_string(out, value);
}

std::optional<int> small_integer(const json& object, const char* key) {
  const auto value = integer(object, key);
  if (!value || *value < std::numeric_limits<int>::min() || *value > std::numeric_limits<int>::max()) return {};
  return static_cast<int>(*value);
}

}  // namespace

std::optional<EventRecord> parse_event(std::string_view line) {
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  const auto event = event_from(text(object, "event"));
  if (!event) return std::nullopt;
  EventRecord record{.event = *event};
  record.attempt = small_integer(object, "attempt").value_or(1);
  record.step = integer(object, "step").value_or(0);
  record.rank = small_integer(object, "rank");
  record.host = text(object, "host");
  record.pid = integer(object, "pid");
  record.phase = text(object, "phase");
  record.cause = text(object, "cause");
  record.detail = text(object, "detail");
  record.ts = text(object, "ts");
  const auto seconds = object.find("seconds");
  if (seconds != object.end() && seconds->is_number()) record.seconds = seconds->get<double>();
  const auto ratio = object.find("ratio");
  if (ratio != object.end() && ratio->is_number()) record.ratio = ratio->get<double>();
  return record;
}

std::string_view to_string(RunEvent event) {
  for (const auto& [value, name] : names) {
    if (value == event) return name;
  }
  return "unknown";
}

std::optional<RunEvent> event_from(std::string_view name) {
  for (const auto& [value, known] : names) {
    if (known == name) return value;
  }
  return std::nullopt;
}

std::string utc_timestamp(std::chrono::system_clock::time_point time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(time - whole).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(whole)), millis);
}

std::optional<double> seconds_since_epoch(std::string_view timestamp) {
  const std::string copy(timestamp.substr(0, 40));
  std::tm parts{};
  const char* rest = ::strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return std::nullopt;
  double fraction = 0;
  double place = 0.1;
  if (*rest == '.') {
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, place /= 10) fraction += place * (*rest - '0');
  }
  if (std::string_view(rest) != "Z") return std::nullopt;
  return static_cast<double>(::timegm(&parts)) + fraction;
}

std::string to_json_line(const EventRecord& record) {
  std::string out = "{\"ts\":";
  json_text::append_string(out, record.ts.empty() ? utc_timestamp(std::chrono::system_clock::now()) : record.ts);
  out +=
      fmt::format(",\"event\":\"{}\",\"attempt\":{},\"step\":{}", to_string(record.event), record.attempt, record.step);
  if (record.rank) out += fmt::format(",\"rank\":{}", *record.rank);
  text_field(out, "host", record.host);
  if (record.pid) out += fmt::format(",\"pid\":{}", *record.pid);
  text_field(out, "phase", record.phase);
  text_field(out, "cause", record.cause);
  text_field(out, "detail", record.detail);
  if (record.seconds) {
    out += ",\"seconds\":";
    json_text::append_number(out, *record.seconds, 7);
  }
  if (record.ratio) {
    out += ",\"ratio\":";
    json_text::append_number(out, *record.ratio, 4);
  }
  out += "}\n";
  return out;
}

std::vector<EventRecord> read_events(const std::filesystem::path& path) {
  std::vector<EventRecord> events;
  for_each_line(path, [&](std::string_view line) {
    if (auto record = parse_event(line)) events.push_back(std::move(*record));
  });
  return events;
}

}  // namespace trident
