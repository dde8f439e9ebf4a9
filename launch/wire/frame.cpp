#include "launch/wire/frame.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/error.h"
#include "launch/wire/bytes.h"

namespace trident {
namespace {

constexpr const char* kComponent = "launch/wire/frame";
constexpr uint32_t kMagic = 0x46575254;  // TRWF
constexpr uint16_t kVersion = 1;
constexpr size_t kKeptBuffer = size_t{16} << 10;  // between frames
constexpr std::string_view kKeyPurpose{"trident wire v1\0", 16};

struct Header {
  uint32_t magic = kMagic;
  uint16_t version = kVersion;
  uint16_t kind = 0;
  uint32_t payload = 0;
  int64_t epoch = 0;
  uint64_t sequence = 0;
};

std::string encode(const Header& header) {
  return ByteWriter()
      .number(header.magic)
      .number(header.version)
      .number(header.kind)
      .number(header.payload)
      .number(header.epoch)
      .number(header.sequence)
      .take();
}

Header decode_header(std::string_view bytes) {
  ByteReader reader(bytes.substr(0, kFrameHeader));
  Header header;
  header.magic = reader.number<uint32_t>();
  header.version = reader.number<uint16_t>();
  header.kind = reader.number<uint16_t>();
  header.payload = reader.number<uint32_t>();
  header.epoch = reader.number<int64_t>();
  header.sequence = reader.number<uint64_t>();
  return header;
}

std::string_view view(const auto& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

void require(bool worked) {
  if (!worked) throw Error(ErrorCode::internal, kComponent, "OpenSSL's HMAC-SHA-256 fails");
}

}  // namespace

WireNonce random_nonce() {
  WireNonce nonce{};
  ssize_t got = 0;
  do got = ::getrandom(nonce.data(), nonce.size(), 0);
  while (got < 0 && errno == EINTR);
  if (got != std::ssize(nonce)) throw system_error(errno, kComponent, "the kernel gives no random bytes");
  return nonce;
}

SecretKey frame_key(const JobSecret& secret, WireRole sender, const WireNonce& connector, const WireNonce& listener) {
  const std::string purpose = ByteWriter()
                                  .raw(kKeyPurpose)
                                  .number(static_cast<uint8_t>(sender))
                                  .raw(view(connector))
                                  .raw(view(listener))
                                  .take();
  FrameMac::Value value = FrameMac(secret.key()).sign(purpose);
  SecretKey key;
  std::copy(value.begin(), value.end(), key.bytes().begin());
  OPENSSL_cleanse(value.data(), value.size());
  return key;
}

struct FrameMac::Context {
  EVP_MAC_CTX* evp = nullptr;

  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { EVP_MAC_CTX_free(evp); }
};

FrameMac::FrameMac(const SecretKey& key) : context_(std::make_unique<Context>()) {
  EVP_MAC* algorithm = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  require(algorithm != nullptr);
  context_->evp = EVP_MAC_CTX_new(algorithm);
  EVP_MAC_free(algorithm);  // the context keeps it
  require(context_->evp != nullptr);
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                   OSSL_PARAM_construct_end()};
  require(EVP_MAC_init(context_->evp, key.bytes().data(), key.bytes().size(), parameters) == 1);
}

FrameMac::FrameMac(FrameMac&&) noexcept = default;
FrameMac& FrameMac::operator=(FrameMac&&) noexcept = default;
FrameMac::~FrameMac() = default;

FrameMac::Value FrameMac::sign(std::string_view bytes) {
  Value value{};
  size_t size = 0;
  EVP_MAC_CTX* evp = context_->evp;
  require(EVP_MAC_init(evp, nullptr, 0, nullptr) == 1 &&  // the same key again
          EVP_MAC_update(evp, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()) == 1 &&
          EVP_MAC_final(evp, value.data(), &size, value.size()) == 1 && size == value.size());
  return value;
}

std::string FrameWriter::write(const Frame& frame) {
  TRIDENT_CHECK(frame.payload.size() <= kMaxFramePayload,
                fmt::format("a payload of {} bytes, at most {} are allowed", frame.payload.size(), kMaxFramePayload));
  std::string bytes = encode({.kind = frame.kind,
                              .payload = static_cast<uint32_t>(frame.payload.size()),
                              .epoch = frame.epoch,
                              .sequence = sequence_++});
  bytes.reserve(kFrameOverhead + frame.payload.size());
  bytes += frame.payload;
  const FrameMac::Value mac = mac_.sign(bytes);
  return bytes += view(mac);
}

std::string_view to_string(FrameFault fault) {
  constexpr std::string_view names[] = {"malformed", "oversized", "forged", "replayed"};
  return names[static_cast<size_t>(fault)];
}

FrameReader::FrameReader(const SecretKey& key, size_t max_payload) : mac_(key), max_payload_(max_payload) {}

std::optional<Frame> FrameReader::read(std::string_view& bytes) {
  if (fault_ || !fill(bytes, kFrameHeader)) return std::nullopt;
  if (buffer_.size() == kFrameHeader) look_at_header();
  if (fault_ || !fill(bytes, kFrameOverhead + payload_)) return std::nullopt;
  std::optional<Frame> frame = verified();
  release();
  return frame;
}

// Whether that many bytes of the frame are there.
bool FrameReader::fill(std::string_view& bytes, size_t size) {
  if (buffer_.size() < size) {
    const size_t taken = std::min(size - buffer_.size(), bytes.size());
    buffer_ += bytes.substr(0, taken);
    bytes.remove_prefix(taken);
  }
  return buffer_.size() >= size;
}

void FrameReader::look_at_header() {
  const Header header = decode_header(buffer_);
  payload_ = header.payload;
  if (header.magic != kMagic || header.version != kVersion) fault_ = FrameFault::malformed;
  if (!fault_ && payload_ > max_payload_) fault_ = FrameFault::oversized;
}

std::optional<Frame> FrameReader::verified() {
  const std::string_view whole = buffer_, signed_part = whole.substr(0, kFrameHeader + payload_);
  const FrameMac::Value mac = mac_.sign(signed_part);
  if (CRYPTO_memcmp(mac.data(), whole.data() + signed_part.size(), mac.size()) != 0) {
    fault_ = FrameFault::forged;
    return std::nullopt;
  }
  const Header header = decode_header(whole);
  if (header.sequence != sequence_) {
    fault_ = FrameFault::replayed;
    return std::nullopt;
  }
  ++sequence_;
  return Frame{header.kind, header.epoch, std::string(signed_part.substr(kFrameHeader))};
}

void FrameReader::release() {
  buffer_.clear();
  if (buffer_.capacity() > kKeptBuffer) buffer_.shrink_to_fit();
}

}  // namespace trident
