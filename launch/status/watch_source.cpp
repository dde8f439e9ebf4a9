#include "launch/status/watch_source.h"

#include <fmt/format.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <fstream>
#include <sstream>
#include <utility>

#include "launch/status/run_status.h"
#include "launch/status/state_json.h"
#include "train/metrics/json_fields.h"

namespace trident {
namespace {

constexpr std::chrono::seconds kPatience{3};

struct Place {
  std::string url, host;
};

std::optional<Place> read_place(const std::filesystem::path& file) {
  const std::ifstream stream(file);
  if (!stream) return std::nullopt;
  std::ostringstream words;
  words << stream.rdbuf();
  const auto object = nlohmann::json::parse(words.str(), nullptr, false);
  if (!object.is_object()) return std::nullopt;
  return Place{json_fields::text(object, "url"), json_fields::text(object, "host")};
}

}  // namespace

WatchSource::WatchSource(RunDirectory run, RunFacts facts)
    : run_(std::move(run)), facts_(std::move(facts)), files_(run_) {}

std::optional<std::string> WatchSource::ask(const std::string& url) const {
  if (!url.starts_with("http://")) return std::nullopt;
  httplib::Client client(url);
  client.set_connection_timeout(kPatience);
  client.set_read_timeout(kPatience);
  const auto answer = client.Get("/api/state");
  if (!answer || answer->status != 200) return std::nullopt;
  // A port may have gone to somebody else, or to another run.
  const auto state = nlohmann::json::parse(answer->body, nullptr, false);
  if (!state.is_object() || !state.contains("run") || !state["run"].is_object()) return std::nullopt;
  return answer->body;
}

WatchSource::State WatchSource::state() {
  std::string why = "no status server";
  if (const auto place = read_place(run_.status())) {
    if (auto body = ask(place->url)) return {std::move(*body), place->url, true};
    why = place->host.empty() || place->host == host_name()
              ? fmt::format("{} does not answer", place->url)
              : fmt::format("its server is {} on {}; go there to see its ranks", place->url, place->host);
  }
  files_.update();
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return {state_json(make_status(run_, facts_, files_, nullptr, now)),
          fmt::format("{} ({})", run_.root().string(), why), false};
}

}  // namespace trident
