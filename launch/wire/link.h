#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "launch/unique_descriptor.h"
#include "launch/wire/cable.h"
#include "launch/wire/frame.h"
#include "launch/wire/secret.h"

namespace trident {

/// What was not let in.
struct WireCounters {
  uint64_t forged = 0;       ///< wrongly signed: another secret, connection or direction, or a changed byte
  uint64_t oversized = 0;    ///< longer than allowed
  uint64_t replayed = 0;     ///< signed, but out of turn
  uint64_t malformed = 0;    ///< not of this protocol
  uint64_t wrong_epoch = 0;  ///< these frames were dropped, not their connection
  uint64_t timed_out = 0;    ///< handshakes
  uint64_t overflowed = 0;   ///< own frames that found no room, because the peer does not read

  WireCounters& operator+=(const WireCounters& other);
  [[nodiscard]] bool operator==(const WireCounters&) const = default;
};

/// The first bytes that each side says.
[[nodiscard]] std::string wire_greeting(WireRole role, const WireNonce& nonce);

/// One end of an authenticated TCP connection that never waits: for a poll() loop. A peer that sends anything that
/// cannot be verified is dropped. Silence is the caller's to notice.
///
/// Handshake: each side says 24 bytes in clear - magic "TRWH" u32, version 1 u16, its WireRole u16, a fresh nonce 16 -
/// the connector first; then, the listener first, an empty frame of kind 0 proves that it knows the secret.
class WireLink {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr size_t kQueueBytes = size_t{4} << 20;

  /// Begins to connect. What fails later, the deadline for the handshake too, shows as closed(). Throws Error(config)
  /// where the address is not numeric. `cable`: what it goes through; null: nothing that could be cut.
  static WireLink connect(const std::string& address, uint16_t port, const JobSecret& secret,
                          Clock::time_point deadline, std::shared_ptr<WireCable> cable = nullptr);

  WireLink(WireLink&&) = default;
  WireLink& operator=(WireLink&&) = default;

  /// The peer knows the secret, as we have shown to it.
  [[nodiscard]] bool established() const { return state_ == State::established; }
  [[nodiscard]] bool closed() const { return state_ == State::closed; }
  /// The peer's machine has answered that nobody listens there.
  [[nodiscard]] bool refused() const { return refused_; }
  /// Why it is closed.
  [[nodiscard]] const std::string& reason() const { return reason_; }

  /// Moves everything on that can be without waiting, and returns the next frame. To be called until it returns
  /// nothing; only then poll() tells when there is more. Handshakes need a call at their deadline, too.
  [[nodiscard]] std::optional<Frame> receive();
  /// Queues a frame (kind > 0) and sends what the connection takes. False, and nothing is queued, where it is not
  /// established or there are more than kQueueBytes waiting for the peer.
  bool send(const Frame& frame);
  void close(std::string reason);

  /// Frames of other epochs are dropped from now on.
  void accept_epochs(int64_t least, int64_t most = std::numeric_limits<int64_t>::max());

  /// -1 once closed, and while its cable lets nothing through.
  [[nodiscard]] int descriptor() const { return lets_in() ? socket_.get() : -1; }
  /// The peer's machine has all that was sent.
  [[nodiscard]] bool all_arrived() const;
  /// There are bytes that the connection has not taken yet.
  [[nodiscard]] bool wants_write() const { return state_ == State::connecting || !outbox_.empty(); }
  /// For poll().
  [[nodiscard]] short events() const;
  /// Waits for an event, at most so long.
  void wait(std::chrono::milliseconds most) const;

  [[nodiscard]] const WireCounters& counters() const { return counters_; }

 private:
  friend class WireListener;
  enum class State { connecting, greeting, proving, established, closed };

  WireLink(UniqueDescriptor socket, WireRole role, const JobSecret& secret, Clock::time_point deadline,
           std::shared_ptr<WireCable> cable);

  [[nodiscard]] bool lets_in() const { return !cable_ || cable_->lets_in(); }
  [[nodiscard]] bool lets_out() const { return !cable_ || cable_->lets_out(); }

  void shake_hands();
  void finish_connecting();
  void greet();
  void hear_greeting();
  void prove();
  void hear_proof();
  void drop(FrameFault fault);
  [[nodiscard]] bool fill_inbox();
  [[nodiscard]] std::optional<Frame> next_frame();
  void put(std::string_view bytes);
  void flush();

  UniqueDescriptor socket_;
  std::shared_ptr<WireCable> cable_;
  WireRole role_;
  State state_ = State::greeting;
  std::optional<JobSecret> secret_;  // until the handshake is done
  WireNonce nonce_ = random_nonce();
  Clock::time_point deadline_;  // of the handshake
  std::optional<FrameReader> reader_;
  std::optional<FrameWriter> writer_;
  std::string inbox_;    // read from the socket, not yet taken
  std::string outbox_;   // not yet taken by the socket
  bool broken_ = false;  // nothing can be sent any more; what has come is still read
  int64_t least_epoch_ = std::numeric_limits<int64_t>::min();
  int64_t most_epoch_ = std::numeric_limits<int64_t>::max();
  WireCounters counters_;
  bool refused_ = false;
  std::string reason_;
};

}  // namespace trident
