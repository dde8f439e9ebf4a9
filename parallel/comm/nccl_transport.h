#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "core/device.h"
#include "parallel/comm/communicator.h"
#include "parallel/comm/device_transport.h"

namespace trident {

// NCCL, which is loaded when it is first asked for. Sums are taken in the order of its algorithms, which depends on the
// layout and the sizes: the same layout gives the same bits again, another one need not.

/// Names a job to NCCL.
using NcclId = std::array<int64_t, 16>;

/// Why NCCL cannot be used in this process; empty if it can.
[[nodiscard]] std::string nccl_problem();
[[nodiscard]] NcclId make_nccl_id();
/// Rank `rank` of the `size` ranks that were given the same id; each has a GPU of its own, that of `compute`. All of
/// them call it. `timeout` is for what needs all ranks on the host: this, and splits.
[[nodiscard]] std::shared_ptr<DeviceTransport> connect_nccl(const NcclId& id, int size, int rank, const Stream& compute,
                                                            std::chrono::milliseconds timeout);

/// NCCL among the ranks of `group` if every one has a GPU of its own, else null, which means the hosts' memory. Logs
/// which. Collective.
[[nodiscard]] std::shared_ptr<DeviceTransport> connect_devices(const Communicator& group, const Stream& compute);

}  // namespace trident
