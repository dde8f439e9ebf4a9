#include "launch/node_messages.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "launch/wire/bytes.h"

namespace trident {
namespace {

constexpr size_t kText = 1024;
constexpr size_t kMostNodes = 1 << 14;
constexpr size_t kMostRanks = 1 << 12;
constexpr size_t kMostGroups = 64;

// A message's fields are listed once, in their order on the wire, as fields(codec, message): Writing puts them there,
// Reading fills them from there. Neither knows the other's direction, so both see a message that they may change.

class Writing {
 public:
  explicit Writing(int64_t now_ns) : now_ns_(now_ns) {}

  template <class... Fields>
  void operator()(Fields&... each) {
    (put(each), ...);
  }
  template <class Enum>
  void enumerator(Enum& value, Enum /*last*/) {
    writer_.number(static_cast<uint8_t>(value));
  }
  /// Of this machine's clock, told by how long ago it was; 0: never.
  void moment(int64_t& ns) { writer_.number(ns == 0 ? int64_t{-1} : std::max<int64_t>(0, now_ns_ - ns)); }
  template <class T>
  void list(std::vector<T>& items, size_t most, size_t bytes_each) {
    list(items, most, bytes_each, [this](T& item) { (*this)(item); });
  }
  template <class T, class Each>
  void list(std::vector<T>& items, size_t /*most*/, size_t /*bytes_each*/, const Each& each) {
    writer_.number(static_cast<uint32_t>(items.size()));
    for (T& item : items) each(item);
  }
  template <class T>
  void maybe(std::optional<T>& value) {
    writer_.number<uint8_t>(value ? 1 : 0);
    if (value) (*this)(*value);
  }
  /// Of what is read.
  void require(bool /*sound*/) {}

  [[nodiscard]] std::string take() { return writer_.take(); }

 private:
  template <class Field>
  void put(Field& field) {
    if constexpr (std::is_same_v<Field, bool>) {
      writer_.number<uint8_t>(field ? 1 : 0);
    } else if constexpr (std::is_arithmetic_v<Field>) {
      writer_.number(field);
    } else if constexpr (std::is_same_v<Field, std::string>) {
      writer_.text(field);
    } else {
      fields(*this, field);
    }
  }

  ByteWriter writer_;
  int64_t now_ns_;
};

class Reading {
 public:
  Reading(std::string_view payload, int64_t now_ns) : reader_(payload), now_ns_(now_ns) {}

  template <class... Fields>
  void operator()(Fields&... each) {
    (get(each), ...);
  }
  template <class Enum>
  void enumerator(Enum& value, Enum last) {
    const auto number = reader_.number<uint8_t>();
    require(number <= static_cast<uint8_t>(last));
    value = static_cast<Enum>(std::min(number, static_cast<uint8_t>(last)));
  }
  void moment(int64_t& ns) {
    const auto ago = reader_.number<int64_t>();
    ns = ago < 0 ? 0 : std::max<int64_t>(1, now_ns_ - ago);
  }
  template <class T>
  void list(std::vector<T>& items, size_t most, size_t bytes_each) {
    list(items, most, bytes_each, [this](T& item) { (*this)(item); });
  }
  template <class T, class Each>
  void list(std::vector<T>& items, size_t most, size_t bytes_each, const Each& each) {
    for (size_t i = reader_.count(most, bytes_each); i > 0; --i) each(items.emplace_back());
  }
  template <class T>
  void maybe(std::optional<T>& value) {
    if (reader_.number<uint8_t>() != 0) (*this)(value.emplace());
  }
  void require(bool sound) {
    if (!sound) reader_.fail();
  }

  [[nodiscard]] bool complete() const { return reader_.complete(); }

 private:
  template <class Field>
  void get(Field& field) {
    if constexpr (std::is_same_v<Field, bool>) {
      field = reader_.number<uint8_t>() != 0;
    } else if constexpr (std::is_arithmetic_v<Field>) {
      field = reader_.number<Field>();
    } else if constexpr (std::is_same_v<Field, std::string>) {
      field = reader_.text(kText);
    } else {
      fields(*this, field);
    }
  }

  ByteReader reader_;
  int64_t now_ns_;
};

template <class Message>
std::string written(Message message, int64_t now_ns = 0) {
  Writing codec(now_ns);
  codec(message);
  return codec.take();
}

template <class Message>
std::optional<Message> read(std::string_view payload, int64_t now_ns = 0) {
  std::optional<Message> message(std::in_place);
  Reading codec(payload, now_ns);
  codec(*message);
  if (!codec.complete()) message.reset();
  return message;
}

// ---- fields

template <class Codec>
void fields(Codec& codec, NodePeer& peer) {
  codec(peer.node, peer.host, peer.address, peer.port, peer.copies_port);
}

template <class Codec>
void fields(Codec& codec, NodeView& view) {
  codec(view.coordinator);
  codec.list(view.peers, kMostNodes, 16);
  codec.list(view.members, kMostNodes, 4);
}

template <class Codec>
void fields(Codec& codec, NodeHello& hello) {
  codec(hello.self, hello.epoch);
}

template <class Codec>
void fields(Codec& codec, NodeShare& share) {
  codec(share.epoch, share.first_rank, share.ranks);
  codec.require(share.first_rank >= 0 && share.ranks >= 0 && share.ranks <= static_cast<int>(kMostRanks));
}

template <class Codec>
void fields(Codec& codec, NodeBegin& begin) {
  codec(begin.share, begin.view);
}

template <class Codec>
void fields(Codec& codec, NodeLease& lease) {
  codec(lease.asked_ns, lease.answered_ns);
}

template <class Codec>
void fields(Codec& codec, NodeVote& vote) {
  codec(vote.yes, vote.coordinator);
}

// Most of a histogram's buckets are empty.
template <class Codec>
void fields(Codec& codec, DurationCounts& durations) {
  std::vector<std::pair<uint8_t, uint32_t>> filled;
  for (size_t i = 0; i < durations.counts.size(); ++i) {
    if (durations.counts[i] != 0) filled.emplace_back(static_cast<uint8_t>(i), durations.counts[i]);
  }
  codec.list(filled, DurationCounts::kBuckets, 5, [&](auto& bucket) {
    codec(bucket.first, bucket.second);
    codec.require(bucket.first < DurationCounts::kBuckets);
    if (bucket.first < DurationCounts::kBuckets) durations.counts[bucket.first] = bucket.second;
  });
}

template <class Codec>
void fields(Codec& codec, GroupRecord& group) {
  codec(group.group, group.peer);
  codec.enumerator(group.op, CollectiveOp::recv);
  codec(group.entered, group.left, group.bytes);
}

template <class Codec>
void fields(Codec& codec, pipeline::Action& action) {
  codec(action.stage, action.microbatch);
  codec.enumerator(action.op, pipeline::Op::reduce_tied);
}

template <class Codec>
void fields(Codec& codec, Blame& blame) {
  codec.enumerator(blame.kind, StateFault::Kind::corrupted);
  codec(blame.rank, blame.step);
}

template <class Codec>
void fields(Codec& codec, RankRecord& record) {
  codec.enumerator(record.state, RankRecord::State::crashed);
  codec(record.rank, record.pid, record.beats, record.exit_code, record.signal);
  codec.moment(record.ended_ns);
  codec(record.message);
  codec.maybe(record.blame);
  codec.enumerator(record.phase, TrainPhase::ending);
  codec(record.step);
  codec.maybe(record.action);
  codec(record.resumed, record.done, record.committed, record.loss_bits, record.busy_seconds);
  int32_t waits = record.waits_in ? static_cast<int32_t>(*record.waits_in) : -1;
  codec(waits);
  codec.list(record.groups, kMostGroups, 33);
  record.waits_in.reset();
  if (waits >= 0 && waits < std::ssize(record.groups)) record.waits_in = static_cast<size_t>(waits);
  for (DurationCounts& phase : record.phases) codec(phase);
}

template <class Codec>
void fields(Codec& codec, RankState& rank) {
  codec(rank.rank, rank.pid, rank.host, rank.record, rank.ended, rank.wait_status, rank.end_order, rank.lost,
        rank.daemon_gone, rank.stopped, rank.kernel_killed, rank.idle_s);
}

template <class Codec>
void fields(Codec& codec, CopyDuty& duty) {
  codec(duty.rank, duty.to.address, duty.to.port);
}

template <class Codec>
void fields(Codec& codec, CopyOrder& order) {
  codec(order.epoch, order.base, order.next);
  codec.list(order.sends, kMostRanks, 10);
  codec.list(order.receives, kMostRanks, 4);
  codec.require(order.base >= -1 && order.next >= -1);
}

template <class Codec>
void fields(Codec& codec, CopyState& copies) {
  codec(copies.epoch, copies.copied, copies.missed, copies.problem, copies.hopeless);
}

template <class Codec>
void fields(Codec& codec, NodeReport& report) {
  codec(report.asked_ns, report.answered_ns, report.ready, report.alive);
  codec.list(report.neighbours, kMostNodes, 12, [&](auto& heard) { codec(heard.first, heard.second); });
  const NodeShare& share = report.state.share;
  codec(report.state.share);
  codec.list(report.state.ranks, kMostRanks, 100, [&](RankState& rank) {
    codec(rank);
    codec.require(rank.rank >= share.first_rank && rank.rank - share.first_rank < share.ranks);
  });
  codec(report.copies);
}

}  // namespace

std::string encode(const NodeHello& hello) { return written(hello); }
std::string encode(const NodeView& view) { return written(view); }
std::string encode(const NodeBegin& begin) { return written(begin); }
std::string encode(const NodeLease& lease) { return written(lease); }
std::string encode(const NodeReport& report, int64_t now_ns) { return written(report, now_ns); }
std::string encode(const NodeVote& vote) { return written(vote); }
std::string encode(const CopyOrder& order) { return written(order); }
std::string encode_number(int64_t value) { return written(value); }

std::optional<NodeHello> decode_hello(std::string_view payload) { return read<NodeHello>(payload); }
std::optional<NodeView> decode_view(std::string_view payload) { return read<NodeView>(payload); }
std::optional<NodeBegin> decode_begin(std::string_view payload) { return read<NodeBegin>(payload); }
std::optional<NodeLease> decode_lease(std::string_view payload) { return read<NodeLease>(payload); }
std::optional<NodeReport> decode_report(std::string_view payload, int64_t now_ns) {
  return read<NodeReport>(payload, now_ns);
}
std::optional<NodeVote> decode_vote(std::string_view payload) { return read<NodeVote>(payload); }
std::optional<CopyOrder> decode_copy_order(std::string_view payload) { return read<CopyOrder>(payload); }
std::optional<int64_t> decode_number(std::string_view payload) { return read<int64_t>(payload); }

Frame frame_of(NodeMessage message, int64_t epoch, std::string payload) {
  return Frame{.kind = static_cast<uint16_t>(message), .epoch = epoch, .payload = std::move(payload)};
}

}  // namespace trident
