#include <fmt/format.h>

#include <set>
#include <span>

#include "core/cuda_devices.h"
#include "core/log.h"
#include "parallel/comm/exchange_text.h"
#include "parallel/comm/nccl_transport.h"

namespace trident {
namespace {

/// Why the ranks cannot use NCCL; empty if they can. The same on every rank.
std::string common_problem(const Communicator& group, const Stream& compute) {
  const std::string own = nccl_problem();
  // An identity, or a problem; no identity has a space.
  const std::string card = own.empty() ? cuda_device_identity(compute.device().index) : "no NCCL: " + own;
  const std::vector<std::string> cards = all_gather_text(group, card);
  for (int rank = 0; rank < group.size(); ++rank) {
    const std::string& other = cards[static_cast<size_t>(rank)];
    if (other.find(' ') != std::string::npos) return fmt::format("rank {}: {}", rank, other);
  }
  if (std::set<std::string>(cards.begin(), cards.end()).size() < cards.size()) return "ranks share GPUs";
  return {};
}

}  // namespace

std::shared_ptr<DeviceTransport> connect_devices(const Communicator& group, const Stream& compute) {
  if (group.size() == 1 || group.is_meta()) return nullptr;
  const std::string problem = common_problem(group, compute);
  if (!problem.empty()) {
    if (group.rank() == 0) log::info("GPUs communicate through the hosts' memory ({})", problem);
    return nullptr;
  }
  NcclId id{};
  if (group.rank() == 0) id = make_nccl_id();
  group.broadcast(std::span<int64_t>(id), 0);
  auto transport = connect_nccl(id, group.size(), group.rank(), compute, group.options().timeout);
  if (group.rank() == 0) log::info("GPUs communicate by NCCL");
  return transport;
}

}  // namespace trident
