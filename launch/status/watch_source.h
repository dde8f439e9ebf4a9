#pragma once

#include <optional>
#include <string>

#include "launch/status/run_files.h"
#include "train/metrics/report.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// A run's state as `/api/state` gives it: from its status server where that answers, else from its files.
class WatchSource {
 public:
  WatchSource(RunDirectory run, RunFacts facts);

  struct State {
    std::string json;
    std::string from;  ///< for people: the server's URL, or the run's folder and why not from a server
    bool live = false;
  };
  [[nodiscard]] State state();

 private:
  [[nodiscard]] std::optional<std::string> ask(const std::string& url) const;

  RunDirectory run_;
  RunFacts facts_;
  RunFiles files_;
};

}  // namespace trident
