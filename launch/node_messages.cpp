#include "launch/node_messages.h"

#include <algorithm>

#include "launch/wire/bytes.h"

namespace trident {
namespace {

constexpr size_t kText = 1024;
constexpr size_t kMostNodes = 1 << 14;
constexpr size_t kMostRanks = 1 << 12;
constexpr size_t kMostGroups = 64;

template <class Enum>
Enum enumerator(ByteReader& reader, Enum last) {
  const auto value = reader.number<uint8_t>();
  if (value > static_cast<uint8_t>(last)) reader.fail();
  return static_cast<Enum>(std::min(value, static_cast<uint8_t>(last)));
}

template <class Enum>
void put_enum(ByteWriter& writer, Enum value) {
  writer.number(static_cast<uint8_t>(value));
}

bool get_bool(ByteReader& reader) { return reader.number<uint8_t>() != 0; }
void put_bool(ByteWriter& writer, bool value) { writer.number<uint8_t>(value ? 1 : 0); }

void put(ByteWriter& writer, const NodePeer& peer) {
  writer.number(peer.node).text(peer.host).text(peer.address).number(peer.port);
}

NodePeer get_peer(ByteReader& reader) {
  NodePeer peer;
  peer.node = reader.number<uint32_t>();
  peer.host = reader.text(kText);
  peer.address = reader.text(kText);
  peer.port = reader.number<uint16_t>();
  return peer;
}

void put(ByteWriter& writer, const NodeView& view) {
  writer.number(view.coordinator).number(static_cast<uint32_t>(view.peers.size()));
  for (const NodePeer& peer : view.peers) put(writer, peer);
  writer.number(static_cast<uint32_t>(view.members.size()));
  for (const uint32_t member : view.members) writer.number(member);
}

NodeView get_view(ByteReader& reader) {
  NodeView view;
  view.coordinator = reader.number<uint32_t>();
  for (size_t i = reader.count(kMostNodes, 14); i > 0; --i) view.peers.push_back(get_peer(reader));
  for (size_t i = reader.count(kMostNodes, 4); i > 0; --i) view.members.push_back(reader.number<uint32_t>());
  return view;
}

void put(ByteWriter& writer, const NodeShare& share) {
  writer.number(share.epoch).number(int32_t{share.first_rank}).number(int32_t{share.ranks});
}

NodeShare get_share(ByteReader& reader) {
  NodeShare share;
  share.epoch = reader.number<int64_t>();
  share.first_rank = reader.number<int32_t>();
  share.ranks = reader.number<int32_t>();
  if (share.first_rank < 0 || share.ranks < 0 || share.ranks > static_cast<int>(kMostRanks)) reader.fail();
  return share;
}

// Most of a histogram's buckets are empty.
void put(ByteWriter& writer, const DurationCounts& durations) {
  const auto& counts = durations.counts;
  writer.number(static_cast<uint32_t>(std::count_if(counts.begin(), counts.end(), [](uint32_t c) { return c != 0; })));
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] != 0) writer.number(static_cast<uint8_t>(i)).number(counts[i]);
  }
}

DurationCounts get_durations(ByteReader& reader) {
  DurationCounts durations;
  for (size_t i = reader.count(DurationCounts::kBuckets, 5); i > 0; --i) {
    const auto bucket = reader.number<uint8_t>();
    const auto count = reader.number<uint32_t>();
    if (bucket >= DurationCounts::kBuckets) return reader.fail(), durations;
    durations.counts[bucket] = count;
  }
  return durations;
}

void put(ByteWriter& writer, const GroupRecord& group) {
  writer.text(group.group).number(int32_t{group.peer});
  put_enum(writer, group.op);
  writer.number(group.entered).number(group.left).number(group.bytes);
}

GroupRecord get_group(ByteReader& reader) {
  GroupRecord group;
  group.group = reader.text(kText);
  group.peer = reader.number<int32_t>();
  group.op = enumerator(reader, CollectiveOp::recv);
  group.entered = reader.number<uint64_t>();
  group.left = reader.number<uint64_t>();
  group.bytes = reader.number<int64_t>();
  return group;
}

void put_action(ByteWriter& writer, const std::optional<pipeline::Action>& action) {
  put_bool(writer, action.has_value());
  if (!action) return;
  writer.number(int32_t{action->stage}).number(int32_t{action->microbatch});
  put_enum(writer, action->op);
}

std::optional<pipeline::Action> get_action(ByteReader& reader) {
  if (!get_bool(reader)) return std::nullopt;
  const auto stage = reader.number<int32_t>(), microbatch = reader.number<int32_t>();
  return pipeline::Action{stage, enumerator(reader, pipeline::Op::reduce_tied), microbatch};
}

void put_blame(ByteWriter& writer, const std::optional<Blame>& blame) {
  put_bool(writer, blame.has_value());
  if (!blame) return;
  put_enum(writer, blame->kind);
  writer.number(int32_t{blame->rank}).number(blame->step);
}

std::optional<Blame> get_blame(ByteReader& reader) {
  if (!get_bool(reader)) return std::nullopt;
  Blame blame;
  blame.kind = enumerator(reader, StateFault::Kind::corrupted);
  blame.rank = reader.number<int32_t>();
  blame.step = reader.number<int64_t>();
  return blame;
}

void put(ByteWriter& writer, const RankRecord& record, int64_t now_ns) {
  put_enum(writer, record.state);
  writer.number(int32_t{record.rank}).number(record.pid).number(record.beats).number(int32_t{record.exit_code});
  writer.number(int32_t{record.signal});
  writer.number(record.ended_ns == 0 ? int64_t{-1} : std::max<int64_t>(0, now_ns - record.ended_ns));
  writer.text(record.message);
  put_blame(writer, record.blame);
  put_enum(writer, record.phase);
  writer.number(record.step);
  put_action(writer, record.action);
  writer.number(record.resumed).number(record.done).number(record.committed).number(record.loss_bits);
  writer.number(record.busy_seconds);
  writer.number(record.waits_in ? static_cast<int32_t>(*record.waits_in) : int32_t{-1});
  writer.number(static_cast<uint32_t>(record.groups.size()));
  for (const GroupRecord& group : record.groups) put(writer, group);
  for (const DurationCounts& phase : record.phases) put(writer, phase);
}

RankRecord get_record(ByteReader& reader, int64_t now_ns) {
  RankRecord record;
  record.state = enumerator(reader, RankRecord::State::crashed);
  record.rank = reader.number<int32_t>();
  record.pid = reader.number<int64_t>();
  record.beats = reader.number<uint64_t>();
  record.exit_code = reader.number<int32_t>();
  record.signal = reader.number<int32_t>();
  const auto ago = reader.number<int64_t>();
  record.ended_ns = ago < 0 ? 0 : std::max<int64_t>(1, now_ns - ago);
  record.message = reader.text(kText);
  record.blame = get_blame(reader);
  record.phase = enumerator(reader, TrainPhase::ending);
  record.step = reader.number<int64_t>();
  record.action = get_action(reader);
  record.resumed = reader.number<int64_t>();
  record.done = reader.number<int64_t>();
  record.committed = reader.number<int64_t>();
  record.loss_bits = reader.number<uint64_t>();
  record.busy_seconds = reader.number<double>();
  const auto waits = reader.number<int32_t>();
  for (size_t i = reader.count(kMostGroups, 33); i > 0; --i) record.groups.push_back(get_group(reader));
  if (waits >= 0 && waits < std::ssize(record.groups)) record.waits_in = static_cast<size_t>(waits);
  for (DurationCounts& phase : record.phases) phase = get_durations(reader);
  return record;
}

void put(ByteWriter& writer, const RankState& rank, int64_t now_ns) {
  writer.number(int32_t{rank.rank}).number(rank.pid).text(rank.host);
  put(writer, rank.record, now_ns);
  put_bool(writer, rank.ended);
  writer.number(int32_t{rank.wait_status}).number(int32_t{rank.end_order});
  for (const bool flag : {rank.lost, rank.daemon_gone, rank.stopped, rank.kernel_killed}) put_bool(writer, flag);
  writer.number(rank.idle_s);
}

RankState get_rank(ByteReader& reader, int64_t now_ns) {
  RankState rank;
  rank.rank = reader.number<int32_t>();
  rank.pid = reader.number<int64_t>();
  rank.host = reader.text(kText);
  rank.record = get_record(reader, now_ns);
  rank.ended = get_bool(reader);
  rank.wait_status = reader.number<int32_t>();
  rank.end_order = reader.number<int32_t>();
  for (bool* flag : {&rank.lost, &rank.daemon_gone, &rank.stopped, &rank.kernel_killed}) *flag = get_bool(reader);
  rank.idle_s = reader.number<double>();
  return rank;
}

template <class T>
std::optional<T> whole(const ByteReader& reader, T value) {
  return reader.complete() ? std::optional<T>(std::move(value)) : std::nullopt;
}

}  // namespace

std::string encode(const NodeHello& hello) {
  ByteWriter writer;
  put(writer, hello.self);
  return writer.number(hello.epoch).take();
}

std::optional<NodeHello> decode_hello(std::string_view payload) {
  ByteReader reader(payload);
  NodeHello hello;
  hello.self = get_peer(reader);
  hello.epoch = reader.number<int64_t>();
  return whole(reader, std::move(hello));
}

std::string encode(const NodeView& view) {
  ByteWriter writer;
  put(writer, view);
  return writer.take();
}

std::optional<NodeView> decode_view(std::string_view payload) {
  ByteReader reader(payload);
  NodeView view = get_view(reader);
  return whole(reader, std::move(view));
}

std::string encode(const NodeBegin& begin) {
  ByteWriter writer;
  put(writer, begin.share);
  put(writer, begin.view);
  return writer.take();
}

std::optional<NodeBegin> decode_begin(std::string_view payload) {
  ByteReader reader(payload);
  NodeBegin begin;
  begin.share = get_share(reader);
  begin.view = get_view(reader);
  return whole(reader, std::move(begin));
}

std::string encode(const NodeLease& lease) {
  return ByteWriter().number(lease.asked_ns).number(lease.answered_ns).take();
}

std::optional<NodeLease> decode_lease(std::string_view payload) {
  ByteReader reader(payload);
  NodeLease lease;
  lease.asked_ns = reader.number<int64_t>();
  lease.answered_ns = reader.number<int64_t>();
  return whole(reader, lease);
}

std::string encode(const NodeReport& report, int64_t now_ns) {
  ByteWriter writer;
  writer.number(report.asked_ns).number(report.answered_ns);
  put_bool(writer, report.ready);
  writer.text(report.alive).number(static_cast<uint32_t>(report.neighbours.size()));
  for (const auto& [node, ago] : report.neighbours) writer.number(node).number(ago);
  put(writer, report.state.share);
  writer.number(static_cast<uint32_t>(report.state.ranks.size()));
  for (const RankState& rank : report.state.ranks) put(writer, rank, now_ns);
  return writer.take();
}

std::optional<NodeReport> decode_report(std::string_view payload, int64_t now_ns) {
  ByteReader reader(payload);
  NodeReport report;
  report.asked_ns = reader.number<int64_t>();
  report.answered_ns = reader.number<int64_t>();
  report.ready = get_bool(reader);
  report.alive = reader.text(kText);
  for (size_t i = reader.count(kMostNodes, 12); i > 0; --i) {
    const auto node = reader.number<uint32_t>();
    report.neighbours.emplace_back(node, reader.number<double>());
  }
  const NodeShare share = report.state.share = get_share(reader);
  for (size_t i = reader.count(kMostRanks, 100); i > 0; --i) {
    report.state.ranks.push_back(get_rank(reader, now_ns));
    const int rank = report.state.ranks.back().rank;
    if (rank < share.first_rank || rank - share.first_rank >= share.ranks) return std::nullopt;
  }
  return whole(reader, std::move(report));
}

std::string encode(const NodeVote& vote) {
  ByteWriter writer;
  put_bool(writer, vote.yes);
  put(writer, vote.coordinator);
  return writer.take();
}

std::optional<NodeVote> decode_vote(std::string_view payload) {
  ByteReader reader(payload);
  NodeVote vote;
  vote.yes = get_bool(reader);
  vote.coordinator = get_peer(reader);
  return whole(reader, std::move(vote));
}

std::string encode_number(int64_t value) { return ByteWriter().number(value).take(); }

std::optional<int64_t> decode_number(std::string_view payload) {
  ByteReader reader(payload);
  const auto value = reader.number<int64_t>();
  return whole(reader, value);
}

Frame frame_of(NodeMessage message, int64_t epoch, std::string payload) {
  return Frame{.kind = static_cast<uint16_t>(message), .epoch = epoch, .payload = std::move(payload)};
}

}  // namespace trident
