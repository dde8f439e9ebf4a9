#include "train/snapshot_bytes.h"

#include <cstring>
#include <numeric>

#include "core/error.h"

namespace trident {
namespace {

constexpr int64_t kWord = sizeof(int64_t);

int64_t words_for(int64_t bytes) { return (bytes + kWord - 1) / kWord; }

}  // namespace

void SnapshotBytes::ask(int64_t file, int64_t offset, int64_t bytes) {
  const SnapshotPlace& place = places_[static_cast<size_t>(file)];
  if (!place.here.empty()) return;
  std::vector<Range>& ranges = streams_[static_cast<size_t>(place.server)].ranges;
  if (!ranges.empty() && ranges.back().file == file && ranges.back().offset + ranges.back().bytes == offset) {
    ranges.back().bytes += bytes;
  } else {
    ranges.push_back({file, offset, bytes});
  }
}

void SnapshotBytes::fetch(const SavedState& state, const RectangleReader& reader, const Communicator& world) {
  streams_.assign(static_cast<size_t>(world.size()), {});
  const auto size = static_cast<int64_t>(size_of(state.dtype()));
  state.for_each_rectangle([&](StateKind kind, int tensor, const LogicalBlock& block) {
    reader.for_each_run(kind, tensor, block,
                        [&](const RectangleReader::Run& run) { ask(run.file, run.offset, run.count * size); });
  });
  exchange_bytes(exchange_ranges(world), world);
}

// What every rank asks this one for.
std::vector<std::vector<SnapshotBytes::Range>> SnapshotBytes::exchange_ranges(const Communicator& world) const {
  constexpr int64_t kNumbers = 3;
  std::vector<int64_t> counts, incoming(streams_.size()), numbers;
  for (const Stream& stream : streams_) {
    counts.push_back(std::ssize(stream.ranges) * kNumbers);
    for (const Range& range : stream.ranges) numbers.insert(numbers.end(), {range.file, range.offset, range.bytes});
  }
  world.all_to_all(std::span<const int64_t>(counts), std::span<int64_t>(incoming));
  std::vector<int64_t> arrived(static_cast<size_t>(std::accumulate(incoming.begin(), incoming.end(), int64_t{0})));
  world.all_to_all(std::span<const int64_t>(numbers), counts, std::span<int64_t>(arrived), incoming);
  std::vector<std::vector<Range>> asked(streams_.size());
  const int64_t* at = arrived.data();
  for (size_t rank = 0; rank < asked.size(); ++rank) {
    for (int64_t i = 0; i < incoming[rank]; i += kNumbers, at += kNumbers) asked[rank].push_back({at[0], at[1], at[2]});
  }
  return asked;
}

void SnapshotBytes::exchange_bytes(const std::vector<std::vector<Range>>& asked, const Communicator& world) {
  const auto bytes_of = [](const std::vector<Range>& ranges) {
    return std::accumulate(ranges.begin(), ranges.end(), int64_t{0},
                           [](int64_t sum, const Range& range) { return sum + range.bytes; });
  };
  std::vector<int64_t> send_counts, recv_counts;
  std::vector<int64_t> out;
  for (const auto& ranges : asked) {
    send_counts.push_back(words_for(bytes_of(ranges)));
    const size_t begin = out.size();
    out.resize(begin + static_cast<size_t>(send_counts.back()));
    auto* to = reinterpret_cast<std::byte*>(out.data() + begin);
    for (const Range& range : ranges) {
      const auto from = places_.at(static_cast<size_t>(range.file)).here;
      TRIDENT_CHECK(range.offset >= 0 && range.bytes >= 0 && range.offset + range.bytes <= std::ssize(from));
      std::memcpy(to, from.data() + range.offset, static_cast<size_t>(range.bytes));
      to += range.bytes;
    }
  }
  for (const Stream& stream : streams_) recv_counts.push_back(words_for(bytes_of(stream.ranges)));
  fetched_.resize(static_cast<size_t>(std::accumulate(recv_counts.begin(), recv_counts.end(), int64_t{0})));
  world.all_to_all(std::span<const int64_t>(out), send_counts, std::span<int64_t>(fetched_), recv_counts);
  auto from = std::as_bytes(std::span(fetched_));
  for (size_t rank = 0; rank < streams_.size(); ++rank) {
    const auto count = static_cast<size_t>(recv_counts[rank] * kWord);
    streams_[rank].bytes = from.first(count);
    from = from.subspan(count);
  }
}

void SnapshotBytes::read(int file, int64_t offset, std::span<std::byte> out, const std::string& tensor) {
  const SnapshotPlace& place = places_[static_cast<size_t>(file)];
  if (out.empty()) return;
  if (!place.here.empty()) {
    TRIDENT_CHECK(offset >= 0 && offset + std::ssize(out) <= std::ssize(place.here), tensor);
    std::memcpy(out.data(), place.here.data() + offset, out.size());
    return;
  }
  Stream& stream = streams_[static_cast<size_t>(place.server)];
  const Range& range = stream.ranges.at(stream.range);
  TRIDENT_CHECK(range.file == file && range.offset + stream.in_range == offset &&
                    stream.in_range + std::ssize(out) <= range.bytes,
                tensor);
  std::memcpy(out.data(), stream.bytes.data() + stream.at, out.size());
  stream.at += std::ssize(out);
  stream.in_range += std::ssize(out);
  if (stream.in_range < range.bytes) return;
  stream.in_range = 0;
  ++stream.range;
}

}  // namespace trident
