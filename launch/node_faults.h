#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "launch/fault.h"
#include "launch/node_messages.h"
#include "launch/wire/cable.h"

namespace trident {

struct NodeFaultsOptions {
  std::vector<InjectedFault> faults;  ///< of a whole schedule
  int node = 0;                       ///< this one
  std::string host;                   ///< its name in the hostfile
  std::filesystem::path journal;      ///< told of each fault before it happens; shared by all nodes
};

/// Makes the faults of a schedule happen that concern this node: by its agent, or, where it coordinates, by the
/// coordinator. Nothing ever happens that is not in the options: no other process can ask for a fault.
class NodeFaults {
 public:
  /// Where another agent of this node has cut the link for longer than until now, it stays cut.
  explicit NodeFaults(NodeFaultsOptions options);

  /// What all this node's links must go through; null where no fault concerns them.
  [[nodiscard]] const std::shared_ptr<WireCable>& cable() const { return cable_; }
  [[nodiscard]] int node() const { return options_.node; }
  /// Nothing is to come any more.
  [[nodiscard]] bool none() const { return options_.faults.empty(); }

  struct Moment {
    int64_t epoch = 0;
    int64_t step = 0;          ///< that the first of the ranks is at
    bool coordinates = false;  ///< this node
    int nodes = 2;             ///< that have ranks: with one nothing goes over a link, of two one is not most
    NodePeer coordinator{};    ///< its address and port
  };
  /// To be called now and then; makes happen what is due.
  void advance(const Moment& now);

 private:
  [[nodiscard]] static bool may_happen(const InjectedFault& fault, const Moment& now);
  [[nodiscard]] bool has_happened(const InjectedFault& fault, int64_t epoch) const;
  void stay_cut();
  void cut(const InjectedFault& fault, WireCable::Clock::duration ago);
  void happen(const InjectedFault& fault, const Moment& now);

  NodeFaultsOptions options_;
  std::shared_ptr<WireCable> cable_;
};

}  // namespace trident
