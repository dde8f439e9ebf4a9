#pragma once

#include <memory>
#include <string>

#include "launch/status/rank_board.h"
#include "train/metrics/report.h"
#include "train/metrics/run_directory.h"

namespace trident {

struct StatusOptions {
  std::string address = "127.0.0.1";
  int port = 0;  ///< 0: any that is free
};

/// Shows a run that is supervised here: a page at `/`, `/metrics`, `/healthz` and `/api/state`. Reads only; its threads
/// are its own, take no signals, and neither the supervisor nor the training ever waits for them. `<run>/status.json`
/// says where it listens, as long as it does. On a loopback address it answers only who asks for a loopback name, so
/// that no page of elsewhere reads it through a name of its own.
class StatusServer {
 public:
  /// Throws Error(io) where the address or port cannot be had.
  StatusServer(const StatusOptions& options, RunDirectory run, RunFacts facts, const RankBoard& board);
  ~StatusServer();
  StatusServer(const StatusServer&) = delete;
  StatusServer& operator=(const StatusServer&) = delete;

  /// `http://127.0.0.1:9464`
  [[nodiscard]] const std::string& url() const;

 private:
  class Running;
  std::unique_ptr<Running> running_;
};

}  // namespace trident
