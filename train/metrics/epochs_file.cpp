#include "train/metrics/epochs_file.h"

#include <nlohmann/json.hpp>

#include <algorithm>

#include "train/metrics/append_file.h"
#include "train/metrics/events_file.h"
#include "train/metrics/json_fields.h"

namespace trident {
namespace {

EpochRecord& epoch_of(std::vector<EpochRecord>& epochs, std::int64_t number) {
  const auto at = std::lower_bound(epochs.begin(), epochs.end(), number,
                                   [](const EpochRecord& epoch, std::int64_t value) { return epoch.epoch < value; });
  if (at != epochs.end() && at->epoch == number) return *at;
  return *epochs.insert(at, EpochRecord{.epoch = number});
}

}  // namespace

bool add_epoch_line(std::string_view line, std::vector<EpochRecord>& epochs) {
  using namespace json_fields;
  const auto object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object()) return false;
  const std::string event = text(object, "event");
  const std::int64_t number = integer(object, "epoch").value_or(0);
  if (number < 1 || (event != "begin" && event != "workers" && event != "end")) return false;
  EpochRecord& epoch = epoch_of(epochs, number);
  const double time = seconds_since_epoch(text(object, "ts")).value_or(epoch.end);
  if (event == "begin") {
    epoch.begin = time;
    epoch.first = flag(object, "first");
    epoch.dp = integer(object, "dp").value_or(0);
    epoch.tp = integer(object, "tp").value_or(0);
    epoch.pp = integer(object, "pp").value_or(0);
  } else if (event == "end") {
    epoch.end = time;
    epoch.outcome = text(object, "outcome");
    epoch.cause = text(object, "cause");
  }
  return true;
}

std::vector<EpochRecord> read_epochs(const std::filesystem::path& path) {
  std::vector<EpochRecord> epochs;
  for_each_line(path, [&](std::string_view line) { (void)add_epoch_line(line, epochs); });
  return epochs;
}

}  // namespace trident
