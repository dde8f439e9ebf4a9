#include "launch/injection_journal.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <string_view>

#include "train/metrics/append_file.h"

namespace trident {

void append_injection(const std::filesystem::path& journal, const InjectedFault& fault, int64_t epoch,
                      const Victim& victim) {
  const int64_t steady_ns = std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
  const double wall_s = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  AppendFile(journal).append(nlohmann::ordered_json{{"fault", to_text(fault)},
                                                    {"epoch", epoch},
                                                    {"rank", victim.rank},
                                                    {"host", victim.host},
                                                    {"steady_ns", steady_ns},
                                                    {"wall_s", wall_s}}
                                 .dump() +
                             "\n");
}

std::vector<Injection> read_injections(const std::filesystem::path& journal) {
  std::vector<Injection> injections;
  for_each_line(journal, [&](std::string_view line) {
    const auto words = nlohmann::json::parse(line, nullptr, false);
    try {
      injections.push_back({words.at("fault"), words.at("epoch"), words.at("rank"), words.at("steady_ns"),
                            words.at("wall_s"), words.value("host", "")});
    } catch (const nlohmann::json::exception&) {
      return;  // torn, as by a full disk
    }
  });
  return injections;
}

}  // namespace trident
