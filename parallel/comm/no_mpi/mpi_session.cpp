#include "parallel/comm/mpi_session.h"

#include "core/error.h"

namespace trident {

class MpiSession::Runtime {};

MpiSession::MpiSession(const MpiOptions& /*options*/) {
  throw Error(ErrorCode::config, "parallel/comm", "this build has no MPI, so a job has one rank",
              "install libopenmpi-dev and build again");
}
MpiSession::~MpiSession() = default;
const Communicator& MpiSession::world() const { TRIDENT_CHECK(false, "no MPI"); }
void MpiSession::end() { TRIDENT_CHECK(false, "no MPI"); }
void MpiSession::abort(int /*exit_code*/) { TRIDENT_CHECK(false, "no MPI"); }

bool mpi_available() { return false; }

}  // namespace trident
