#include "parallel/comm/meta_backend.h"

#include "core/error.h"

namespace trident {
namespace {

[[noreturn]] void refuse() {
  throw Error(ErrorCode::internal, "parallel/comm", "a group on paper was asked to communicate");
}

}  // namespace

const RankPlace& MetaBackend::place(int /*rank*/) const { return place_; }
void MetaBackend::announce(uint64_t /*sequence*/, const CallSignature& /*signature*/) { refuse(); }
std::unique_ptr<Operation> MetaBackend::start(const CollectiveCall& /*call*/) { refuse(); }
std::unique_ptr<Operation> MetaBackend::start_send(const PeerMessage& /*message*/) { refuse(); }
std::unique_ptr<Operation> MetaBackend::start_recv(const PeerMessage& /*message*/) { refuse(); }
std::shared_ptr<CommBackend> MetaBackend::split(std::span<const int> /*members*/, uint64_t /*id*/) { refuse(); }
std::shared_ptr<Buffer> MetaBackend::allocate_shared(size_t /*bytes*/) { refuse(); }
void MetaBackend::configure(const std::string& /*name*/, bool /*compare_history*/) {}
void MetaBackend::give_up(const std::string& /*reason*/) {}

}  // namespace trident
