#include "parallel/comm/mpi_session.h"

#include <mpi.h>

#include <cstdlib>
#include <exception>
#include <optional>

#include "core/error.h"
#include "core/log.h"
#include "parallel/comm/mpi/mpi_backend.h"

namespace trident {
namespace {

/// MPI_Init to MPI_Finalize.
class Library {
 public:
  Library() {
    int initialized = 0;
    TRIDENT_MPI_CALL(MPI_Initialized, &initialized);
    TRIDENT_CHECK(initialized == 0, "MPI was started before");
    int provided = 0;
    TRIDENT_MPI_CALL(MPI_Init_thread, nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    TRIDENT_CHECK(provided >= MPI_THREAD_FUNNELED);
  }
  ~Library() { MPI_Finalize(); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
};

MpiComm duplicate_world() {
  MPI_Comm comm = MPI_COMM_NULL;
  TRIDENT_MPI_CALL(MPI_Comm_dup, MPI_COMM_WORLD, &comm);
  return MpiComm(comm);
}

Communicator make_world(const MpiOptions& options) {
  MpiComm comm = duplicate_world();
  if (comm.size() == 1) return Communicator::self("world");
  return {MpiBackend::world(std::move(comm), options.ranks_per_node), "world", options.comm};
}

}  // namespace

class MpiSession::Runtime {
 public:
  explicit Runtime(const MpiOptions& options) : world(make_world(options)) {}

  Library library;  // first in, last out
  Communicator world;
};

MpiSession::MpiSession(const MpiOptions& options) : runtime_(std::make_unique<Runtime>(options)) {}

MpiSession::~MpiSession() {
  if (std::uncaught_exceptions() > 0) abort(static_cast<int>(ErrorCode::internal));
  try {
    if (!ended_) end();
  } catch (const Error& error) {
    log::error("{}", error.what());
    abort(error.exit_code());
  }
}

// A rank that enters MPI_Finalize while others still communicate would hang the job: wait for them, within the timeout.
void MpiSession::end() {
  runtime_->world.barrier();
  ended_ = true;
}

const Communicator& MpiSession::world() const { return runtime_->world; }

void MpiSession::abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

bool mpi_available() { return true; }

}  // namespace trident
