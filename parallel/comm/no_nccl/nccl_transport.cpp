#include "parallel/comm/nccl_transport.h"

#include "core/error.h"

namespace trident {

std::string nccl_problem() { return "this build has no NCCL"; }

NcclId make_nccl_id() { TRIDENT_CHECK(false, "no NCCL"); }

std::shared_ptr<DeviceTransport> connect_nccl(const NcclId& /*id*/, int /*size*/, int /*rank*/,
                                              const Stream& /*compute*/, std::chrono::milliseconds /*timeout*/) {
  TRIDENT_CHECK(false, "no NCCL");
}

}  // namespace trident
