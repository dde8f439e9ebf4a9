#pragma once

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

namespace trident {

/// Where a node takes copies of other nodes' snapshots.
struct CopyAddress {
  std::string address;  ///< numeric
  uint16_t port = 0;    ///< 0: nowhere

  [[nodiscard]] bool operator==(const CopyAddress&) const = default;
  [[nodiscard]] bool operator<(const CopyAddress& other) const {
    return std::tie(address, port) < std::tie(other.address, other.port);
  }
};

/// One rank of the node, and who keeps the copy of its snapshots; nowhere: they are only to be kept here.
struct CopyDuty {
  int rank = 0;
  CopyAddress to;

  [[nodiscard]] bool operator==(const CopyDuty&) const = default;
};

/// Which states the nodes have to keep in one another's memory, all of them the same: the state after `base` is there
/// already, that after `next` is copied as soon as it is sealed. Neither may be filled anew before the next order.
struct CopyOrder {
  int64_t epoch = 0;
  int64_t base = -1;              ///< -1: none
  int64_t next = -1;              ///< -1: nothing
  std::vector<CopyDuty> sends;    ///< all ranks of the node
  std::vector<int32_t> receives;  ///< other nodes' ranks whose copies it keeps

  [[nodiscard]] bool operator==(const CopyOrder&) const = default;
};

/// What has become of an order on a node.
struct CopyState {
  int64_t epoch = 0;
  int64_t copied = -1;    ///< the state after this step: all of its ranks' parts are where they have to be
  int64_t missed = -1;    ///< this step cannot be copied: it was filled anew, or refused
  std::string problem;    ///< why nothing is copied; empty: it is
  bool hopeless = false;  ///< nor will be in this epoch

  [[nodiscard]] bool operator==(const CopyState&) const = default;
};

}  // namespace trident
