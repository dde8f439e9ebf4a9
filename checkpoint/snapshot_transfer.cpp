#include "checkpoint/snapshot_transfer.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

#include "checkpoint/manifest.h"
#include "core/error.h"

namespace trident {
namespace {

constexpr char kBegin = 'B', kPart = 'P';
constexpr int64_t kMostBytes = int64_t{1} << 46;

Error refused(const std::string& what) { return {ErrorCode::bad_data, "checkpoint/snapshot", "a copy: " + what}; }

/// "1a2b3c4d.17", the last two parts.
std::string own_part(const std::string& name) {
  const size_t rank = name.rfind('.');
  TRIDENT_CHECK(rank != std::string::npos && rank > 0, name);
  const size_t layout = name.rfind('.', rank - 1);
  TRIDENT_CHECK(layout != std::string::npos, name);
  return name.substr(layout + 1);
}

bool is_own_part(const std::string& name) {
  return !name.empty() && name.size() < 64 && name.find_first_not_of("0123456789abcdef.") == std::string::npos;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::vector<std::string> snapshots_of_rank(const std::string& prefix, int rank) {
  std::vector<std::string> names;
  const std::string end = "." + std::to_string(rank);
  for (const std::string& name : shared_memory_names(prefix.substr(prefix.find_first_not_of('/')) + "."))
    if (name.ends_with(end)) names.push_back("/" + name);
  return names;
}

SnapshotSender::SnapshotSender(std::string prefix, int rank, int64_t step)
    : prefix_(std::move(prefix)), rank_(rank), step_(step) {}

// What earlier layouts left holds no step as late as this, so that only one memory has it.
void SnapshotSender::find() {
  gone_ = false;
  for (const std::string& name : snapshots_of_rank(prefix_, rank_)) {
    auto view = SnapshotView::open(name);
    for (int buffer = 0; view && buffer < view->buffers(); ++buffer) {
      const auto seal = view->seal(buffer);
      if (!seal) continue;
      gone_ = gone_ || seal->step > step_;
      if (seal->step != step_) continue;
      own_part_ = own_part(name);
      buffer_ = buffer;
      seal_ = *seal;
      view_ = std::move(view);
      gone_ = false;
      return;
    }
  }
}

std::string SnapshotSender::begin() {
  const SnapshotIdentity identity = view_->identity();
  head_ = identity.description;
  head_ += text_of(std::as_bytes(view_->block_hashes(buffer_)));
  const nlohmann::json facts{{"name", own_part_},
                             {"run_id", identity.run_id},
                             {"rank", identity.rank},
                             {"ranks", identity.ranks},
                             {"layout", to_hex(identity.layout)},
                             {"bytes", view_->bytes()},
                             {"description", identity.description.size()},
                             {"step", seal_.step},
                             {"samples", seal_.consumed_samples},
                             {"gang", seal_.gang}};
  return kBegin + facts.dump();
}

std::optional<std::string> SnapshotSender::next(size_t most) {
  TRIDENT_CHECK(most >= 1024);
  if (sent_ || gone_) return std::nullopt;
  std::string message;
  if (!view_) {
    find();
    if (!view_) return std::nullopt;
    message = begin();
  } else if (at_ < head_.size()) {
    message = kPart + head_.substr(at_, most - 1);
  } else {
    const auto content = view_->content(buffer_).subspan(at_ - head_.size());
    message.reserve(most);
    message += kPart;
    message += text_of(content.first(std::min(most - 1, content.size())));
  }
  if (!still_there()) {
    gone_ = true;
    return std::nullopt;
  }
  if (message.front() == kPart) at_ += message.size() - 1;
  sent_ = at_ == head_.size() + static_cast<size_t>(view_->bytes());
  return message;
}

void SnapshotReceiver::take(std::string_view message) {
  if (message.empty()) throw refused("an empty message");
  try {
    if (message.front() == kBegin) return begin(message.substr(1));
    if (message.front() != kPart) throw refused("a message of no known kind");
    if (incoming_) add(message.substr(1));  // of a snapshot that was dropped, the rest passes
  } catch (const nlohmann::json::exception& error) {
    incoming_.reset();
    throw refused(error.what());
  } catch (...) {
    incoming_.reset();
    throw;
  }
}

void SnapshotReceiver::begin(std::string_view json) {
  incoming_.reset();
  const auto facts = nlohmann::json::parse(json);
  Incoming incoming;
  const auto name = facts.at("name").get<std::string>();
  incoming.name = prefix_ + "." + name + std::string(kSnapshotCopy);
  incoming.identity.run_id = facts.at("run_id");
  incoming.identity.rank = facts.at("rank");
  incoming.identity.ranks = facts.at("ranks");
  incoming.identity.layout = hash128_from_hex(facts.at("layout").get<std::string>());
  incoming.seal = {facts.at("step"), facts.at("samples"), facts.at("gang")};
  incoming.bytes = facts.at("bytes");
  incoming.description_bytes = facts.at("description");
  const bool sound = is_own_part(name) && incoming.identity.run_id.size() < 128 && incoming.identity.rank >= 0 &&
                     incoming.identity.rank < incoming.identity.ranks && incoming.seal.step >= 0 &&
                     incoming.seal.consumed_samples >= 0 && incoming.bytes >= 0 && incoming.bytes <= kMostBytes &&
                     incoming.description_bytes <= static_cast<size_t>(Manifest::kMaxBytes);
  if (!sound) throw refused("numbers that make no sense");
  if (holds(incoming.name, incoming.seal)) {
    received_ = incoming.seal.step;
    return;
  }
  incoming.head_bytes = incoming.description_bytes + static_cast<size_t>(hash_blocks(incoming.bytes)) * 8;
  incoming_ = std::move(incoming);
  if (incoming_->head_bytes == 0) end_head();
}

bool SnapshotReceiver::holds(const std::string& name, const SnapshotSeal& seal) const {
  if (!memory_ || memory_name_ != name) return false;
  return memory_->seal(0) == seal || memory_->seal(1) == seal;
}

void SnapshotReceiver::end_head() {
  Incoming& in = *incoming_;
  in.identity.description = in.head.substr(0, in.description_bytes);
  in.hashes.file_bytes = in.bytes;
  in.hashes.blocks.resize(static_cast<size_t>(hash_blocks(in.bytes)));
  in.head.copy(reinterpret_cast<char*>(in.hashes.blocks.data()), in.head.size() - in.description_bytes,
               in.description_bytes);
  if (!memory_ || memory_name_ != in.name || !memory_->is_of(in.identity) || memory_->bytes() != in.bytes) {
    memory_.reset();
    memory_.emplace(in.name, in.identity, in.bytes, SnapshotMemory::kCopyBuffers);
    memory_name_ = in.name;
  }
  in.buffer = memory_->step(0) < memory_->step(1) ? 0 : 1;
  if (memory_->step(in.buffer) == kept_) in.buffer = 1 - in.buffer;
  in.to = memory_->begin_fill(in.buffer);
}

void SnapshotReceiver::add(std::string_view bytes) {
  Incoming& in = *incoming_;
  const size_t of_head = std::min(bytes.size(), in.head_bytes - in.head.size());
  if (of_head > 0) {
    in.head += bytes.substr(0, of_head);
    bytes.remove_prefix(of_head);
    if (in.head.size() == in.head_bytes) end_head();
  }
  if (in.head.size() < in.head_bytes) return;
  if (std::ssize(bytes) > in.bytes - in.filled) throw refused("more bytes than it has");
  if (!bytes.empty()) std::memcpy(in.to.data() + in.filled, bytes.data(), bytes.size());
  const int64_t before = in.filled;
  in.filled += std::ssize(bytes);
  verify_blocks(before);
  if (in.filled < in.bytes) return;
  memory_->end_fill(in.buffer, in.seal, in.hashes);
  received_ = in.seal.step;
  incoming_.reset();
}

// Those that were not complete before.
void SnapshotReceiver::verify_blocks(int64_t before) {
  const Incoming& in = *incoming_;
  for (int64_t block = before / kHashBlockBytes; block < std::ssize(in.hashes.blocks); ++block) {
    const int64_t begin = block * kHashBlockBytes, end = std::min(begin + kHashBlockBytes, in.bytes);
    if (end > in.filled) return;
    const auto content =
        std::span<const std::byte>(in.to).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    if (hash_block(content) != in.hashes.blocks[static_cast<size_t>(block)])
      throw refused(
          fmt::format("block {} of step {} of rank {} is not what was sealed", block, in.seal.step, in.identity.rank));
  }
}

}  // namespace trident
