#include "launch/copy_sender.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/log.h"
#include "launch/copy_messages.h"
#include "launch/node_messages.h"

namespace trident {
namespace {

constexpr std::chrono::milliseconds kRetry{300};
constexpr std::chrono::seconds kHandshake{2};
// A node that is off is known to be lost by then.
constexpr std::chrono::seconds kUnreachable{10};
constexpr size_t kPiece = kMaxFramePayload - kSnapshotPieceHead;
constexpr int kPiecesAtOnce = 8;
// A step that takes long is looked for less often.
constexpr std::chrono::milliseconds kLeastLook{4}, kMostLook{50};
constexpr int kLooksPerStep = 16;

}  // namespace

CopySender::CopySender(std::string prefix, JobSecret secret) : prefix_(std::move(prefix)), secret_(std::move(secret)) {}

void CopySender::follow(const CopyOrder& order) {
  if (order.epoch != order_.epoch) stop();
  const bool goes_on = order.epoch == order_.epoch && order.next == order_.next && order.sends == order_.sends;
  order_ = order;
  keep_here();
  if (!goes_on) begin_tasks();
}

void CopySender::stop() {
  targets_.clear();
  tasks_.clear();
  order_ = {};
  no_room_.clear();
}

void CopySender::begin_tasks() {
  tasks_.clear();
  missed_ = false;
  begun_ = Clock::now();
  for (auto& [to, target] : targets_) target.reached = begun_;  // what was idle was not tried
  if (order_.next < 0) return;
  for (const CopyDuty& duty : order_.sends)
    tasks_.push_back({duty, SnapshotSender(prefix_, duty.rank, order_.next), false});
}

void CopySender::keep_here() const {
  for (const CopyDuty& duty : order_.sends) {
    for (const std::string& name : snapshots_of_rank(prefix_, duty.rank)) {
      if (auto view = SnapshotView::open(name)) view->keep({order_.base, order_.next});
    }
  }
}

void CopySender::watch(std::vector<pollfd>& events) const {
  for (const auto& [to, target] : targets_) {
    if (target.link && !target.link->closed()) events.push_back({target.link->descriptor(), target.link->events(), 0});
  }
}

bool CopySender::copied() const {
  return !tasks_.empty() && std::all_of(tasks_.begin(), tasks_.end(), [](const Task& task) { return task.done; });
}

std::string CopySender::problem() const {
  if (!no_room_.empty()) return no_room_;
  const auto bad = [](const auto& target) { return !target.second.problem.empty(); };
  const auto found = std::find_if(targets_.begin(), targets_.end(), bad);
  return found == targets_.end() ? std::string() : found->second.problem;
}

std::chrono::milliseconds CopySender::patience() const {
  if (tasks_.empty() || copied() || missed_) return kRetry;
  const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun_);
  return std::clamp(waited / kLooksPerStep, kLeastLook, kMostLook);
}

bool CopySender::advance() {
  for (auto& [to, target] : targets_) {
    if (target.link) hear(*target.link);
  }
  bool more = false;
  for (Task& task : tasks_) {
    if (task.done || missed_) continue;
    if (task.duty.to.port == 0) {
      look_for(task);
    } else if (WireLink* link = reach(task.duty.to)) {
      more = send(task, *link) || more;
    }
  }
  return more;
}

// Its copy is nobody's duty, but without its own snapshot the state would not be whole.
void CopySender::look_for(Task& task) {
  task.done = task.snapshot.next(kPiece).has_value();
  missed_ = missed_ || task.snapshot.gone();
}

// Null while it cannot be written to.
WireLink* CopySender::reach(const CopyAddress& to) {
  Target& target = targets_[to];
  if (!target.link || target.link->closed()) connect(to, target);
  if (!target.link->established()) return nullptr;
  target.reached = Clock::now();
  target.problem.clear();
  return target.link->wants_write() ? nullptr : &*target.link;
}

void CopySender::connect(const CopyAddress& to, Target& target) {
  const auto now = Clock::now();
  if (now - target.tried < kRetry) return;
  if (target.reached == Clock::time_point()) target.reached = now;
  if (now - target.reached > kUnreachable)
    target.problem =
        fmt::format("the agent at {} cannot be reached at TCP port {}: {}", to.address, to.port, target.link->reason());
  target.tried = now;
  target.link.emplace(WireLink::connect(to.address, to.port, secret_, now + kHandshake));
  // What it was told over the connection before may not have come.
  for (Task& task : tasks_) {
    if (task.duty.to == to && !task.done) task.snapshot = SnapshotSender(prefix_, task.duty.rank, order_.next);
  }
}

void CopySender::hear(WireLink& link) {
  while (const auto frame = link.receive()) {
    const auto answer =
        frame->kind == static_cast<uint16_t>(NodeMessage::kept) ? decode_copy_answer(frame->payload) : std::nullopt;
    if (!answer) return link.close("it said something that nobody says who keeps copies");
    if (frame->epoch != order_.epoch || answer->step != order_.next) continue;
    if (answer->no_room) no_room_ = answer->refusal;
    if (!answer->refusal.empty()) {
      log::warning("the copy of step {} of rank {} is refused: {}", answer->step, answer->rank, answer->refusal);
      missed_ = true;
      continue;
    }
    for (Task& task : tasks_) task.done = task.done || task.duty.rank == answer->rank;
  }
}

// Whether there is more to send at once.
bool CopySender::send(Task& task, WireLink& link) {
  for (int i = 0; i < kPiecesAtOnce && !link.wants_write(); ++i) {
    const auto message = task.snapshot.next(kPiece);
    missed_ = missed_ || task.snapshot.gone();
    if (!message) return false;
    const SnapshotPiece piece{task.duty.rank, order_.base, order_.next, *message};
    if (!link.send(frame_of(NodeMessage::piece, order_.epoch, encode(piece)))) {
      link.close("it takes nothing");
      return false;
    }
  }
  return !link.wants_write();
}

}  // namespace trident
