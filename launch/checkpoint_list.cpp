#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <iostream>
#include <optional>
#include <vector>

#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/checkpoint_root.h"
#include "launch/checkpoint_verbs.h"
#include "launch/options.h"
#include "launch/text_table.h"
#include "train/metrics/events_file.h"
#include "train/metrics/run_directory.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string run;
  bool json = false;
};

/// What lies in a run's checkpoints folder under one name.
struct Listed {
  std::string name;
  int64_t step = -1;
  std::string time;
  std::string state;   ///< complete, incomplete, damaged, newer format, abandoned, unfinished, being deleted
  std::string detail;  ///< what is wrong
  std::optional<Manifest> manifest;
};

// Of the manifest, which is written last; of the folder where there is none.
std::string time_of(const fs::path& folder) {
  struct stat status {};
  if (::stat((folder / Manifest::kFileName).c_str(), &status) != 0 && ::stat(folder.c_str(), &status) != 0) return "";
  const std::string precise = utc_timestamp(std::chrono::system_clock::from_time_t(status.st_mtim.tv_sec));
  return precise.substr(0, precise.find('.')) + "Z";
}

int64_t step_in(const std::string& name) {
  constexpr std::string_view kPrefix = "step_";
  int64_t step = -1;
  if (const size_t at = name.find(kPrefix); at != std::string::npos)
    std::from_chars(name.data() + at + kPrefix.size(), name.data() + name.size(), step);
  return step;
}

// By its manifest and the sizes of its files; `verify` reads them.
void look_into(Listed& listed, const fs::path& folder) {
  try {
    listed.manifest = CheckpointReader(folder).manifest();
    listed.state = "complete";
  } catch (const DamagedCheckpoint& damage) {
    listed.state = damage.problem_found().missing ? "incomplete" : "damaged";
    listed.detail = to_string(damage.problem_found());
  } catch (const NewerFormat& error) {
    listed.state = "newer format";
    listed.detail = error.problem();
  } catch (const Error& error) {
    listed.state = error.code() == ErrorCode::input_missing ? "incomplete" : "damaged";
    listed.detail = error.problem();
  }
}

std::vector<Listed> entries_of(const CheckpointRoot& root) {
  std::vector<Listed> entries;
  for (const auto& [step, folder] : root.list()) {
    Listed& listed = entries.emplace_back();
    listed.name = folder.filename().string();
    listed.step = step;
    listed.time = time_of(folder);
    look_into(listed, folder);
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root.path(), error)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory(error)) continue;
    const char* state = name.ends_with(CheckpointRoot::kAbandoned) ? "abandoned"
                        : name.starts_with(".tmp.")                ? "unfinished"
                        : name.starts_with(".del.")                ? "being deleted"
                                                                   : nullptr;
    if (state != nullptr) entries.push_back({name, step_in(name), time_of(entry.path()), state, {}, {}});
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Listed& a, const Listed& b) { return a.step > b.step; });
  return entries;
}

nlohmann::ordered_json to_json(const Listed& listed) {
  nlohmann::ordered_json json = {{"step", listed.step}, {"name", listed.name}, {"time", listed.time},
                                 {"bytes", nullptr},    {"layout", nullptr},   {"state", listed.state}};
  if (listed.manifest) {
    json["bytes"] = listed.manifest->bytes();
    json["layout"] = to_json(listed.manifest->layout);
    json["consumed_samples"] = listed.manifest->consumed_samples;
    json["moments"] = listed.manifest->moments;
  }
  if (!listed.detail.empty()) json["detail"] = listed.detail;
  return json;
}

std::string to_text(const std::vector<Listed>& entries) {
  TextTable table({">step", "time", ">size", "layout", "state", "folder"});
  for (const Listed& listed : entries) {
    const auto& manifest = listed.manifest;
    std::string state = listed.state;
    if (manifest && !manifest->moments) state += ", weights alone";
    if (!listed.detail.empty()) state += ": " + listed.detail;
    table.add({std::to_string(listed.step), listed.time,
               manifest ? mebibytes(static_cast<double>(manifest->bytes())) : "",
               manifest ? to_string(manifest->layout) : "", state, listed.name});
  }
  return table.to_string();
}

int run(const Arguments& arguments) {
  const RunDirectory directory{fs::path(arguments.run)};
  if (!fs::is_directory(directory.checkpoints()))
    throw Error(ErrorCode::input_missing, "checkpoint", arguments.run + " is no run: it has no folder checkpoints",
                "name a run such as runs/kjv");
  const std::vector<Listed> entries = entries_of(CheckpointRoot(directory.checkpoints()));
  if (arguments.json) {
    nlohmann::ordered_json json = {{"run", arguments.run}, {"checkpoints", nlohmann::ordered_json::array()}};
    for (const Listed& listed : entries) json["checkpoints"].push_back(to_json(listed));
    std::cout << json.dump() << '\n';
  } else if (entries.empty()) {
    std::cout << fmt::format("{} has no checkpoints\n", arguments.run);
  } else {
    std::cout << to_text(entries);
  }
  return 0;
}

}  // namespace

void add_checkpoint_list(Verb& verb, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb list = verb.add_verb("list", "A run's checkpoints, newest first");
  list.add_option("run", arguments->run, "The run's folder").required().type_name("RUN");
  add_json(list, arguments->json);
  list.footer(
      "State: complete, by its manifest and the sizes of its files (`verify` reads them all); incomplete; damaged;\n"
      "newer format; abandoned, set aside when the run went on from an older one; unfinished, being written or left "
      "by\n"
      "a writer that died; being deleted.\n"
      "Example:\n  trident checkpoint list runs/kjv --json");
  list.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
