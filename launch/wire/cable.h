#pragma once

#include <chrono>
#include <vector>

#include "launch/unique_descriptor.h"

namespace trident {

/// What a process's links go through, so that an injected fault can cut it. As over a real network nothing is lost by
/// that, only late: what a link is given meanwhile waits, and what has come is not read. A link that closes meanwhile
/// does so for its peer once the cable is whole again.
class WireCable {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Cut {
    both_ways,
    outgoing,  ///< what others send still comes
  };

  /// From `begin` on for `off`, and as often as `times`, each time after it has been whole for as long.
  void cut(Cut what, Clock::time_point begin, Clock::duration off, int times);
  [[nodiscard]] bool lets_in() { return lets_out() || what_ == Cut::outgoing; }
  [[nodiscard]] bool lets_out();
  /// Of a link that closes while nothing gets out.
  void close_later(UniqueDescriptor socket) { closing_.push_back(std::move(socket)); }

 private:
  Cut what_ = Cut::both_ways;
  Clock::time_point begin_;
  Clock::duration off_{};
  int times_ = 0;  // 0: whole
  std::vector<UniqueDescriptor> closing_;
};

}  // namespace trident
