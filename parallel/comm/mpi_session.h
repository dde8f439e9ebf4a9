#pragma once

#include <memory>
#include <string>

#include "parallel/comm/communicator.h"

namespace trident {

struct MpiOptions {
  CommOptions comm;
  /// Treat every so many ranks of one machine as a node of their own; 0: by machine. For tests.
  int ranks_per_node = 0;
};

/// MPI from its start to its end; one in a process's life. Without MPI compiled in, the constructor throws
/// Error(config). Calls MPI from the constructing thread only.
///
/// Ranks of one node reduce in shared memory, nodes exchange messages of at most 1 MiB. The memory has no name in any
/// file system, so nothing is left behind, however a rank ends.
class MpiSession {
 public:
  explicit MpiSession(const MpiOptions& options = {});
  /// Ends MPI once all ranks have come here. After an error a rank must not: it calls abort().
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  /// All ranks of the job.
  [[nodiscard]] const Communicator& world() const;
  /// Waits for all ranks to come to their end, as the destructor does otherwise. Throws Error where they do not.
  void end();
  /// Ends all ranks of the job at once, this one included, with `exit_code`.
  [[noreturn]] void abort(int exit_code);

 private:
  class Runtime;
  std::unique_ptr<Runtime> runtime_;
  bool ended_ = false;
};

/// True where MPI is compiled in.
[[nodiscard]] bool mpi_available();

}  // namespace trident
