#pragma once

#include <httplib.h>

#include <atomic>
#include <chrono>
#include <memory>

namespace trident {

/// cpp-httplib's server with limits that no client can exceed: so many connections at a time, one request each, of so
/// many bytes, and so long from its first byte to the last of the answer. Further connections wait in the kernel.
/// Handlers are set with `set_pre_routing_handler`, which sees every request before its body is read.
class BoundedHttpServer : public httplib::Server {
 public:
  struct Limits {
    size_t connections = 4;
    size_t request_bytes = 8192;
    std::chrono::milliseconds request_time{2000};
    std::chrono::milliseconds answer_time{5000};
  };

  explicit BoundedHttpServer(Limits limits);
  /// Ends `listen_after_bind` within a fraction of a second, whatever clients do.
  void stop_now();

 private:
  bool process_and_close_socket(socket_t sock) override;

  Limits limits_;
  std::atomic<bool> stopping_ = false;
};

}  // namespace trident
