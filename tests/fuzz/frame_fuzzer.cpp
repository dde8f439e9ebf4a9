// Any bytes as what a peer sends. The first byte says in which way: as a stream, cut into pieces; or as one frame's
// header and payload with their right signature, which leads to what stands behind it. A frame that comes out is the
// one that went in, whatever the pieces, and a stream that is not signed gives none.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "launch/wire/bytes.h"
#include "launch/wire/frame.h"

namespace {

struct Outcome {
  std::vector<trident::Frame> frames{};
  std::optional<trident::FrameFault> fault{};

  [[nodiscard]] bool operator==(const Outcome&) const = default;
};

void require(bool holds) {
  if (!holds) std::abort();
}

const trident::SecretKey& key() {
  static const trident::SecretKey all_zero;
  return all_zero;
}

Outcome read_in_pieces(const std::string& stream, size_t piece) {
  trident::FrameReader reader(key());
  Outcome outcome;
  for (size_t at = 0; at < stream.size() && !reader.fault(); at += piece) {
    std::string_view bytes = std::string_view(stream).substr(at, piece);
    while (auto frame = reader.read(bytes)) outcome.frames.push_back(*std::move(frame));
    require(bytes.empty() || reader.fault());
  }
  outcome.fault = reader.fault();
  return outcome;
}

// A frame has exactly one form: written again, those that were read are the stream's beginning.
void check_stream(const std::string& stream, size_t piece) {
  const Outcome outcome = read_in_pieces(stream, std::max<size_t>(stream.size(), 1));
  require(outcome == read_in_pieces(stream, piece));
  trident::FrameWriter writer(key());
  std::string again;
  for (const trident::Frame& frame : outcome.frames) again += writer.write(frame);
  require(stream.starts_with(again));
}

std::string signed_anyway(const std::string& header_and_payload) {
  const auto mac = trident::FrameMac(key()).sign(header_and_payload);
  return header_and_payload + std::string(reinterpret_cast<const char*>(mac.data()), mac.size());
}

// A decoder's every move, chosen by the payload itself.
void decode(const std::string& payload) {
  trident::ByteReader reader(payload);
  while (!reader.failed() && !reader.complete()) {
    switch (reader.number<uint8_t>() % 6) {
      case 0: (void)reader.number<int64_t>(); break;
      case 1: (void)reader.number<double>(); break;
      case 2: require(reader.text(100).size() <= 100); break;
      case 3: require(reader.count(payload.size(), 3) * 3 <= payload.size()); break;
      case 4: require(reader.raw(reader.number<uint8_t>()).size() <= 255); break;
      default: (void)reader.number<uint16_t>(); break;
    }
  }
  if (reader.failed()) require(reader.number<int64_t>() == 0 && reader.text(9).empty() && !reader.complete());
}

void check_payload(const std::string& payload) {
  const trident::Frame frame{static_cast<uint16_t>(payload.size()), -1, payload};
  const Outcome outcome = read_in_pieces(trident::FrameWriter(key()).write(frame), 5);
  require(outcome == Outcome{{frame}, {}});
  decode(outcome.frames.front().payload);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string input(reinterpret_cast<const char*>(data + 1), std::min(size - 1, trident::kMaxFramePayload));
  const size_t piece = size_t{data[0]} / 4 + 1;
  switch (data[0] % 4) {
    case 0: check_stream(input, piece); break;
    case 1: check_stream(signed_anyway(input) + input, piece); break;
    case 2: check_stream(trident::FrameWriter(key()).write({1, 1, "first"}) + signed_anyway(input), piece); break;
    default: check_payload(input); break;
  }
  return 0;
}
