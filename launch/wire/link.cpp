#include "launch/wire/link.h"

#include <fmt/format.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "launch/wire/bytes.h"
#include "launch/wire/socket_address.h"

namespace trident {
namespace {

constexpr uint32_t kGreetingMagic = 0x48575254;  // TRWH
constexpr uint16_t kGreetingVersion = 1;
constexpr size_t kGreetingBytes = 24;
constexpr uint16_t kProof = 0;  // kind
constexpr size_t kChunk = size_t{16} << 10;
constexpr size_t kKeptBuffer = size_t{1} << 10;  // a coordinator has thousands of links

std::optional<WireNonce> nonce_of(std::string_view bytes, WireRole expected) {
  ByteReader reader(bytes);
  const bool known = reader.number<uint32_t>() == kGreetingMagic && reader.number<uint16_t>() == kGreetingVersion;
  if (!known || reader.number<uint16_t>() != static_cast<uint16_t>(expected)) return std::nullopt;
  WireNonce nonce{};
  const std::string_view raw = reader.raw(nonce.size());
  std::copy(raw.begin(), raw.end(), nonce.begin());
  return reader.complete() ? std::optional(nonce) : std::nullopt;
}

void drop_front(std::string& buffer, size_t bytes) {
  buffer.erase(0, bytes);
  if (buffer.empty() && buffer.capacity() > kKeptBuffer) buffer.shrink_to_fit();
}

WireRole other(WireRole role) { return role == WireRole::connector ? WireRole::listener : WireRole::connector; }

}  // namespace

std::string wire_greeting(WireRole role, const WireNonce& nonce) {
  return ByteWriter()
      .number(kGreetingMagic)
      .number(kGreetingVersion)
      .number(static_cast<uint16_t>(role))
      .raw({reinterpret_cast<const char*>(nonce.data()), nonce.size()})
      .take();
}

WireCounters& WireCounters::operator+=(const WireCounters& other) {
  forged += other.forged;
  oversized += other.oversized;
  replayed += other.replayed;
  malformed += other.malformed;
  wrong_epoch += other.wrong_epoch;
  timed_out += other.timed_out;
  overflowed += other.overflowed;
  return *this;
}

WireLink::WireLink(UniqueDescriptor socket, WireRole role, const JobSecret& secret, Clock::time_point deadline,
                   std::shared_ptr<WireCable> cable)
    : socket_(std::move(socket)), cable_(std::move(cable)), role_(role), secret_(secret), deadline_(deadline) {
  // Small frames that somebody waits for: sent at once, and again after an even time where they are lost.
  const int on = 1;
  for (const int option : {TCP_NODELAY, TCP_THIN_LINEAR_TIMEOUTS})
    (void)::setsockopt(socket_.get(), IPPROTO_TCP, option, &on, sizeof(on));
}

WireLink WireLink::connect(const std::string& address, uint16_t port, const JobSecret& secret,
                           Clock::time_point deadline, std::shared_ptr<WireCable> cable) {
  const SocketAddress to = SocketAddress::parse(address, port);
  UniqueDescriptor socket(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  WireLink link(std::move(socket), WireRole::connector, secret, deadline, std::move(cable));
  link.state_ = State::connecting;
  if (::connect(link.socket_.get(), to.get(), to.size) != 0 && errno != EINPROGRESS)
    link.close(fmt::format("cannot connect to {} port {}: {}", address, port, std::strerror(errno)));
  return link;
}

void WireLink::close(std::string reason) {
  if (closed()) return;
  state_ = State::closed;
  reason_ = std::move(reason);
  if (!lets_out()) cable_->close_later(std::move(socket_));
  socket_.reset();
  secret_.reset();
  outbox_.clear();
  inbox_.clear();
}

void WireLink::accept_epochs(int64_t least, int64_t most) {
  least_epoch_ = least;
  most_epoch_ = most;
}

bool WireLink::all_arrived() const {
  int under_way = 0;
  return outbox_.empty() && (!socket_.is_open() || ::ioctl(socket_.get(), SIOCOUTQ, &under_way) != 0 || under_way == 0);
}

short WireLink::events() const {
  if (state_ == State::connecting) return POLLOUT;
  return static_cast<short>(POLLIN | (outbox_.empty() || !lets_out() ? 0 : POLLOUT));
}

void WireLink::wait(std::chrono::milliseconds most) const {
  pollfd event{descriptor(), events(), 0};
  (void)::poll(&event, 1, static_cast<int>(most.count()));
}

// ---- handshake

void WireLink::shake_hands() {
  if (lets_in()) {
    if (state_ == State::connecting) finish_connecting();
    flush();
    if (state_ == State::greeting) hear_greeting();
    if (state_ == State::proving) hear_proof();
  }
  if (established() || closed() || Clock::now() < deadline_) return;
  ++counters_.timed_out;
  close("the handshake was not done in time");
}

void WireLink::finish_connecting() {
  pollfd event{socket_.get(), POLLOUT, 0};
  if (::poll(&event, 1, 0) <= 0) return;
  int error = 0;
  socklen_t size = sizeof(error);
  (void)::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  refused_ = error == ECONNREFUSED;
  if (error != 0) return close(fmt::format("cannot connect: {}", std::strerror(error)));
  state_ = State::greeting;
  put(wire_greeting(role_, nonce_));
}

void WireLink::hear_greeting() {
  while (inbox_.size() < kGreetingBytes) {
    if (!fill_inbox()) return;
  }
  const auto nonce = nonce_of(std::string_view(inbox_).substr(0, kGreetingBytes), other(role_));
  if (!nonce) return drop(FrameFault::malformed);
  inbox_.erase(0, kGreetingBytes);
  const bool listens = role_ == WireRole::listener;
  const WireNonce &connector = listens ? *nonce : nonce_, &listener = listens ? nonce_ : *nonce;
  reader_.emplace(frame_key(*secret_, other(role_), connector, listener), 0);
  writer_.emplace(frame_key(*secret_, role_, connector, listener));
  secret_.reset();
  state_ = State::proving;
  if (!listens) return;
  put(wire_greeting(role_, nonce_));
  prove();
}

void WireLink::prove() { put(writer_->write(Frame{.kind = kProof})); }

void WireLink::hear_proof() {
  std::optional<Frame> proof;
  while (!(proof = next_frame())) {
    if (closed() || !fill_inbox()) return;
  }
  if (proof->kind != kProof) return drop(FrameFault::malformed);
  if (role_ == WireRole::connector) prove();
  reader_->set_max_payload(kMaxFramePayload);
  state_ = State::established;
}

void WireLink::drop(FrameFault fault) {
  switch (fault) {
    case FrameFault::malformed: ++counters_.malformed; break;
    case FrameFault::oversized: ++counters_.oversized; break;
    case FrameFault::forged: ++counters_.forged; break;
    case FrameFault::replayed: ++counters_.replayed; break;
  }
  close(fmt::format("the peer sent something {}{}", to_string(fault), established() ? "" : " in the handshake"));
}

// ---- frames

std::optional<Frame> WireLink::receive() {
  if (!established()) shake_hands();
  if (!established()) return std::nullopt;
  flush();
  while (lets_in()) {
    std::optional<Frame> frame = next_frame();
    if (!frame) {
      if (closed() || !fill_inbox()) return std::nullopt;
    } else if (frame->kind == kProof) {
      drop(FrameFault::malformed);
    } else if (frame->epoch < least_epoch_ || frame->epoch > most_epoch_) {
      ++counters_.wrong_epoch;
    } else {
      return frame;
    }
  }
  return std::nullopt;
}

std::optional<Frame> WireLink::next_frame() {
  if (closed()) return std::nullopt;
  std::string_view bytes = inbox_;
  std::optional<Frame> frame = reader_->read(bytes);
  drop_front(inbox_, inbox_.size() - bytes.size());
  if (reader_->fault()) drop(*reader_->fault());
  return frame;
}

// Whether there was something.
bool WireLink::fill_inbox() {
  std::array<char, kChunk> chunk;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by what comes
  const ssize_t got = ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
  if (got > 0) {
    inbox_.append(chunk.data(), static_cast<size_t>(got));
    return true;
  }
  const int error = errno;
  if (got == 0) {
    close("the peer closed the connection");
  } else if (error != EINTR && (broken_ || (error != EAGAIN && error != EWOULDBLOCK))) {
    close(fmt::format("the connection broke: {}", std::strerror(error)));
  }
  return false;
}

bool WireLink::send(const Frame& frame) {
  TRIDENT_CHECK(frame.kind != kProof);
  if (!established() || broken_) return false;
  flush();
  if (outbox_.size() + kFrameOverhead + frame.payload.size() > kQueueBytes) {
    ++counters_.overflowed;
    return false;
  }
  put(writer_->write(frame));
  return true;
}

void WireLink::put(std::string_view bytes) {
  outbox_ += bytes;
  flush();
}

void WireLink::flush() {
  if (outbox_.empty() || !lets_out()) return;
  size_t sent = 0;
  while (sent < outbox_.size()) {
    const ssize_t put = ::send(socket_.get(), outbox_.data() + sent, outbox_.size() - sent, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    broken_ = put < 0 && errno != EAGAIN && errno != EWOULDBLOCK;
    if (put < 0) break;
    sent += static_cast<size_t>(put);
  }
  drop_front(outbox_, broken_ ? outbox_.size() : sent);
}

}  // namespace trident
