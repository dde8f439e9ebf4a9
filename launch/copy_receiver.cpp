#include "launch/copy_receiver.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "launch/node_messages.h"

namespace trident {
namespace {

constexpr int kFramesAtOnce = 8;

}  // namespace

CopyReceiver::CopyReceiver(std::string prefix, WireListener listener)
    : prefix_(std::move(prefix)), listener_(std::move(listener)) {}

void CopyReceiver::follow(const CopyOrder& order) {
  if (order.epoch != order_.epoch) stop();
  order_ = order;
}

void CopyReceiver::stop() {
  links_.clear();
  copies_.clear();
  order_ = {};
}

void CopyReceiver::watch(std::vector<pollfd>& events) const {
  events.push_back({listener_.descriptor(), POLLIN, 0});
  for (const WireLink& link : links_) events.push_back({link.descriptor(), link.events(), 0});
}

std::vector<std::string> CopyReceiver::names() const {
  std::vector<std::string> names;
  for (const auto& [rank, copy] : copies_) names.push_back(copy.name());
  return names;
}

bool CopyReceiver::advance() {
  for (WireLink& link : listener_.accept()) links_.push_back(std::move(link));
  bool more = false;
  for (WireLink& link : links_) more = hear(link) || more;
  std::erase_if(links_, [](const WireLink& link) { return link.closed(); });
  return more;
}

bool CopyReceiver::hear(WireLink& link) {
  for (int i = 0; i < kFramesAtOnce; ++i) {
    const auto frame = link.receive();
    if (!frame) return false;
    take(link, *frame);
  }
  return true;
}

void CopyReceiver::take(WireLink& link, const Frame& frame) {
  const auto piece =
      frame.kind == static_cast<uint16_t>(NodeMessage::piece) ? decode_snapshot_piece(frame.payload) : std::nullopt;
  if (!piece) return link.close("it sent something that is no part of a snapshot");
  // Its order is older than this node's, or has not come here yet: then it connects again.
  if (frame.epoch != order_.epoch) return link.close("it follows the order of another epoch");
  if (std::find(order_.receives.begin(), order_.receives.end(), piece->rank) == order_.receives.end())
    return link.close("this node keeps no copy of that rank");
  const CopyAnswer answer = keep(*piece);
  if (answer.step >= 0) (void)link.send(frame_of(NodeMessage::kept, order_.epoch, encode(answer)));
}

// An answer of no step where there is none to give yet.
CopyAnswer CopyReceiver::keep(const SnapshotPiece& piece) {
  SnapshotReceiver& copy = copies_.try_emplace(piece.rank, prefix_).first->second;
  copy.keep(piece.base);
  CopyAnswer answer{piece.rank, piece.step, false, {}};
  try {
    copy.take(piece.bytes);
    if (copy.received_step() != piece.step) answer.step = -1;
  } catch (const Error& error) {
    answer.no_room = error.code() == ErrorCode::io;
    answer.refusal = error.what();
    log::warning("the copy of step {} of rank {} is not kept: {}", piece.step, piece.rank, error.what());
  }
  return answer;
}

}  // namespace trident
