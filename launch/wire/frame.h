#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "launch/wire/secret.h"

// What goes over a connection between a coordinator and an agent once both have said their nonces (link.h): frames,
// numbers little endian, without padding.
//
//   offset  size
//        0     4  magic, "TRWF"
//        4     2  version, 1
//        6     2  kind: 0 is the link's own, others mean what coordinator and agent make of them
//        8     4  length of the payload, at most 1 MiB
//       12     8  epoch, signed
//       20     8  sequence number, from 0, one more with every frame of a direction
//       28     n  payload
//     28+n    32  HMAC-SHA-256 over everything before it
//
// The key belongs to one direction of one connection:
//   HMAC-SHA-256(job secret, "trident wire v1" 00, sender's role u8, connector's nonce 16, listener's nonce 16)
// so that a frame of another connection, a reflected one, or one sent again never passes. Nothing is encrypted.

namespace trident {

struct Frame {
  uint16_t kind = 0;
  int64_t epoch = 0;
  std::string payload{};

  [[nodiscard]] bool operator==(const Frame&) const = default;
};

constexpr size_t kFrameHeader = 28;
constexpr size_t kFrameMac = 32;
constexpr size_t kFrameOverhead = kFrameHeader + kFrameMac;
constexpr size_t kMaxFramePayload = size_t{1} << 20;

enum class WireRole : uint8_t { connector = 1, listener = 2 };
using WireNonce = std::array<uint8_t, 16>;

[[nodiscard]] WireNonce random_nonce();
/// Of what `sender` sends on the connection of these nonces.
[[nodiscard]] SecretKey frame_key(const JobSecret& secret, WireRole sender, const WireNonce& connector,
                                  const WireNonce& listener);

/// Signs with one key.
class FrameMac {
 public:
  using Value = std::array<uint8_t, kFrameMac>;

  explicit FrameMac(const SecretKey& key);
  FrameMac(FrameMac&&) noexcept;
  FrameMac& operator=(FrameMac&&) noexcept;
  ~FrameMac();

  [[nodiscard]] Value sign(std::string_view bytes);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// One direction's frames as bytes.
class FrameWriter {
 public:
  explicit FrameWriter(const SecretKey& key) : mac_(key) {}

  /// A payload over 1 MiB is a broken invariant.
  [[nodiscard]] std::string write(const Frame& frame);

 private:
  FrameMac mac_;
  uint64_t sequence_ = 0;
};

enum class FrameFault {
  malformed,  ///< no frame of this version
  oversized,  ///< a longer payload than allowed
  forged,     ///< its signature is wrong
  replayed,   ///< signed, but not the next one
};
[[nodiscard]] std::string_view to_string(FrameFault fault);

/// One direction's bytes as frames. Pure: bytes in, frames out. Holds at most one incomplete frame, and of that only
/// what has come; looks at nothing but the header before the signature is verified. After a fault it takes nothing
/// more.
class FrameReader {
 public:
  explicit FrameReader(const SecretKey& key, size_t max_payload = kMaxFramePayload);

  /// Takes bytes from the front of `bytes` up to a frame's end and returns that frame; nothing where they do not
  /// suffice or there is a fault().
  [[nodiscard]] std::optional<Frame> read(std::string_view& bytes);
  [[nodiscard]] std::optional<FrameFault> fault() const { return fault_; }
  void set_max_payload(size_t bytes) { max_payload_ = bytes; }
  /// It stands between two frames.
  [[nodiscard]] bool at_boundary() const { return buffer_.empty(); }

 private:
  [[nodiscard]] bool fill(std::string_view& bytes, size_t size);
  void look_at_header();
  [[nodiscard]] std::optional<Frame> verified();
  void release();

  FrameMac mac_;
  size_t max_payload_;
  std::string buffer_;
  size_t payload_ = 0;  // length of the one that is coming
  uint64_t sequence_ = 0;
  std::optional<FrameFault> fault_;
};

}  // namespace trident
