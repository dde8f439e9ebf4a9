#pragma once

#include <optional>
#include <string>

#include "launch/wire/secret.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// Where a coordinator listens.
struct Endpoint {
  std::string address;  ///< numeric
  uint16_t port = 0;
};

/// A Slurm step with a task on every node, each of which runs `trident launch`: the first host of the hostfile
/// coordinates, the others' agents find it through two files in the run's folder.
class SlurmStep {
 public:
  /// Nothing where srun did not start this process, or did so on one node.
  [[nodiscard]] static std::optional<SlurmStep> detect();

  /// A new secret, in a file for this user alone. Throws Error(io).
  [[nodiscard]] JobSecret make_secret(const RunDirectory& run) const;
  /// Throws Error(io).
  void publish(const RunDirectory& run, const Endpoint& where) const;
  /// Waits for it and for the secret. Throws Error(peer_lost) where they do not come within a minute.
  [[nodiscard]] std::pair<Endpoint, JobSecret> find(const RunDirectory& run) const;
  /// Once all have come.
  void remove(const RunDirectory& run) const noexcept;

 private:
  explicit SlurmStep(std::string id) : id_(std::move(id)) {}
  [[nodiscard]] std::filesystem::path secret(const RunDirectory& run) const { return run.root() / (".secret." + id_); }
  [[nodiscard]] std::filesystem::path endpoint(const RunDirectory& run) const {
    return run.root() / (".coordinator." + id_);
  }

  std::string id_;  // of job, restart and step: what an older one left is not found
};

}  // namespace trident
