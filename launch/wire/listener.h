#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "launch/unique_descriptor.h"
#include "launch/wire/link.h"
#include "launch/wire/secret.h"

namespace trident {

struct WireListenerOptions {
  std::string address = "127.0.0.1";  ///< numeric, of one interface
  uint16_t port = 0;                  ///< 0: any
  size_t half_open = 64;              ///< handshakes at once; who comes later waits in the kernel's queue
  std::chrono::milliseconds handshake{2000};
  std::shared_ptr<WireCable> cable{};  ///< of its links; null: nothing that could be cut
};

/// Where a job's agents connect to. Hands out those that have proven to know the job's secret.
class WireListener {
 public:
  /// Throws Error(config) where the address is not that of one interface, Error(io) where it cannot be had.
  WireListener(WireListenerOptions options, JobSecret secret);

  [[nodiscard]] uint16_t port() const { return port_; }
  /// Becomes readable (POLLIN) when accept() has something to do. Late handshakes end in accept(), too: it wants a call
  /// now and then.
  [[nodiscard]] int descriptor() const { return lets_in() ? events_.get() : -1; }
  /// Never waits. The links may hold frames already: receive() them before poll().
  [[nodiscard]] std::vector<WireLink> accept();

  [[nodiscard]] size_t half_open() const { return half_open_.size(); }
  /// Of those that never came through.
  [[nodiscard]] const WireCounters& counters() const { return counters_; }

 private:
  enum class Next { came, none, no_room };

  [[nodiscard]] bool lets_in() const { return !options_.cable || options_.cable->lets_in(); }
  void advance(size_t from, std::vector<WireLink>& done);
  [[nodiscard]] Next accept_one();
  void watch(int operation, int descriptor, bool readable) const;

  WireListenerOptions options_;
  JobSecret secret_;
  UniqueDescriptor socket_;
  UniqueDescriptor events_;  // epoll of the socket and of the half-open links
  uint16_t port_ = 0;
  std::vector<WireLink> half_open_;
  WireCounters counters_;
};

}  // namespace trident
