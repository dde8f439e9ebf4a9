#include "train/restore_from_memory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <compare>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "checkpoint/rank_file.h"
#include "checkpoint/rectangle_reader.h"
#include "checkpoint/snapshot_transfer.h"
#include "checkpoint/tensor_proof.h"
#include "core/error.h"
#include "core/log.h"
#include "parallel/comm/exchange_text.h"
#include "train/load_proof.h"
#include "train/save_report.h"
#include "train/snapshot_bytes.h"

namespace trident {
namespace {

using Held = NodeSnapshots::Held;
using nlohmann::json;

/// What all ranks of one gang had after one step.
struct State {
  SnapshotSeal seal;
  int ranks = 1;
  [[nodiscard]] bool holds(const Held& held) const { return held.seal == seal && held.ranks == ranks; }
};

/// This rank among those of its node.
struct OnNode {
  int number = 0;
  int ranks = 0;
  explicit OnNode(const Communicator& world) {
    const int node = world.place(world.rank()).node;
    for (int rank = 0; rank < world.size(); ++rank) {
      if (world.place(rank).node != node) continue;
      if (rank < world.rank()) ++number;
      ++ranks;
    }
  }
};

/// What memory holds of states from a step on.
struct Found {
  std::vector<State> whole;  ///< every part is somewhere; newest first
  std::string incomplete;    ///< where there is no such: what is missing of the newest
};

Found find_states(const NodeSnapshots& here, const Communicator& world, int64_t at_least) {
  json offers = json::array();
  if (OnNode(world).number == 0) {
    for (const Held& held : here.held())
      offers.push_back({held.seal.step, held.seal.consumed_samples, held.seal.gang, held.ranks, held.rank});
  }
  std::map<std::tuple<int64_t, int64_t, uint64_t, int>, std::set<int>, std::greater<>> parts;
  for (const std::string& text : all_gather_text(world, offers.dump())) {
    for (const json& offer : json::parse(text))
      parts[{offer.at(0), offer.at(1), offer.at(2), offer.at(3)}].insert(offer.at(4).get<int>());
  }
  Found found;
  for (const auto& [state, there] : parts) {
    const auto& [step, samples, gang, ranks] = state;
    if (step < at_least) break;
    if (std::ssize(there) == ranks) {
      found.whole.push_back({{step, samples, gang}, ranks});
    } else if (found.incomplete.empty() && step > at_least) {
      std::vector<int> missing;
      for (int rank = 0; rank < ranks; ++rank)
        if (!there.contains(rank)) missing.push_back(rank);
      found.incomplete =
          fmt::format("step {}: no node holds the part{} of rank{} {} of {}", step, missing.size() > 1 ? "s" : "",
                      missing.size() > 1 ? "s" : "", fmt::join(missing, ", "), ranks);
    }
  }
  return found;
}

std::string encode(const RankFile& file) {
  return json{{"bytes", file.bytes},
              {"elements", file.elements},
              {"payload", file.payload},
              {"segments", encode(file.segments)}}
      .dump();
}

RankFile decode_rank_file(const std::string& text, int rank) {
  const json words = json::parse(text);
  RankFile file;
  file.name = rank_file_name(rank);
  file.bytes = words.at("bytes");
  file.elements = words.at("elements");
  file.payload = words.at("payload");
  file.segments = decode_segments(words.at("segments"));
  return file;
}

class Restore {
 public:
  Restore(const NodeSnapshots& here, const SavedState& state, const Manifest& job, const Communicator& world,
          const TellDamage& damaged)
      : here_(here), state_(state), job_(job), world_(world), node_(world), damaged_(damaged) {}

  /// Whether the state is the live one now.
  [[nodiscard]] bool load(const State& state);
  /// Of that state, the ranks whose parts only copies had.
  [[nodiscard]] std::vector<int> from_copies() const;

 private:
  struct Part {
    RankFile file;
    std::map<int, int> servers;  ///< by node: the rank that has verified its copy
    bool only_copies = true;     ///< that another node than its rank's has
    std::string name;            ///< of what this node has
    int buffer = 0;
  };

  void tell(const State& state, const std::string& what) const {
    if (world_.rank() == 0) damaged_(fmt::format("step {}: {}", state.seal.step, what));
  }
  [[nodiscard]] json verify_own_share(const State& state) const;
  [[nodiscard]] bool gather_parts(const State& state);
  void require_usable() const;
  [[nodiscard]] std::vector<SnapshotPlace> places() const;
  [[nodiscard]] bool is_server(const Part& part) const { return part.servers.begin()->second == world_.rank(); }
  [[nodiscard]] std::span<const std::byte> content(const Part& part) const;
  [[nodiscard]] std::vector<PartialDigest> sealed_digests() const;

  const NodeSnapshots& here_;
  const SavedState& state_;
  const Manifest& job_;
  const Communicator& world_;
  OnNode node_;
  const TellDamage& damaged_;
  std::vector<Part> parts_;  // by rank of the saved layout
  Manifest manifest_;
};

// Copies are shared out among the ranks of their node.
json Restore::verify_own_share(const State& state) const {
  json good = json::array(), bad = json::array();
  std::set<int> found;
  std::string manifest;
  for (const Held& held : here_.held()) {
    if (!state.holds(held) || held.rank % node_.ranks != node_.number || found.contains(held.rank)) continue;
    if (const auto problem = here_.problem_with(held)) {
      bad.push_back(fmt::format("rank {} on {}: {}", held.rank, world_.place(world_.rank()).host, to_string(*problem)));
      continue;
    }
    try {
      const Manifest own = decode_manifest(here_.description(held), here_.name(held));
      if (own.rank_files.size() != 1) throw Error(ErrorCode::bad_data, "resume", "it does not describe one file");
      good.push_back({held.rank, here_.name(held), held.buffer, encode(own.rank_files.front())});
      if (held.rank == 0) manifest = here_.description(held);
      found.insert(held.rank);
    } catch (const Error& error) {
      bad.push_back(fmt::format("rank {}: {}", held.rank, error.what()));
    }
  }
  return {{"good", good}, {"bad", bad}, {"manifest", manifest}};
}

bool Restore::gather_parts(const State& state) {
  parts_.assign(static_cast<size_t>(state.ranks), {});
  std::string manifest;
  const auto reports =
      all_gather_text(world_, verify_own_share(state).dump(-1, ' ', false, json::error_handler_t::replace));
  for (int rank = 0; rank < world_.size(); ++rank) {
    const json report = json::parse(reports[static_cast<size_t>(rank)]);
    const int node = world_.place(rank).node;
    for (const json& what : report.at("bad")) tell(state, what.get<std::string>());
    if (manifest.empty()) manifest = report.at("manifest").get<std::string>();
    for (const json& good : report.at("good")) {
      Part& part = parts_.at(good.at(0).get<size_t>());
      if (part.servers.empty()) part.file = decode_rank_file(good.at(3), good.at(0));
      part.servers.emplace(node, rank);
      part.only_copies = part.only_copies && good.at(1).get<std::string>().ends_with(kSnapshotCopy);
      if (node == world_.place(world_.rank()).node) part.name = good.at(1), part.buffer = good.at(2);
    }
  }
  for (const Part& part : parts_) {
    if (part.servers.empty()) return false;
  }
  try {
    manifest_ = decode_manifest(manifest, "its description");
    manifest_.rank_files.clear();
    for (Part& part : parts_) manifest_.rank_files.push_back(std::move(part.file));
    require_usable();
    return true;
  } catch (const Error& error) {
    tell(state, error.problem());
    return false;
  }
}

std::vector<int> Restore::from_copies() const {
  std::vector<int> ranks;
  for (size_t rank = 0; rank < parts_.size(); ++rank)
    if (parts_[rank].only_copies) ranks.push_back(static_cast<int>(rank));
  return ranks;
}

void Restore::require_usable() const {
  const auto require = [](bool same, const char* what) {
    if (!same) throw Error(ErrorCode::bad_data, "resume", fmt::format("it is of a job with {}", what));
  };
  require(manifest_.tensors == job_.tensors, "another model");
  require(manifest_.dtype == job_.dtype && manifest_.moments, "another precision");
  require(manifest_.seed == job_.seed, "another run.seed");
  require(manifest_.tokenizer_hash == job_.tokenizer_hash, "another tokenizer");
  require_exact_cover(manifest_, "its description");
}

std::span<const std::byte> Restore::content(const Part& part) const {
  for (const Held& held : here_.held()) {
    if (held.buffer == part.buffer && here_.name(held) == part.name) return here_.content(held);
  }
  return {};
}

std::vector<SnapshotPlace> Restore::places() const {
  std::vector<SnapshotPlace> places;
  for (const Part& part : parts_) places.push_back({content(part), part.servers.begin()->second});
  return places;
}

// Of the parts that this rank would give to others: together the ranks have each part once.
std::vector<PartialDigest> Restore::sealed_digests() const {
  TensorProof proof(manifest_);
  for (size_t rank = 0; rank < parts_.size(); ++rank) {
    if (is_server(parts_[rank])) proof.add(rank, 0, content(parts_[rank]));
  }
  std::vector<PartialDigest> digests;
  for (int32_t tensor = 0; tensor < std::ssize(manifest_.tensors); ++tensor) {
    PartialDigest& part = digests.emplace_back();
    part.tensor = tensor;
    for (size_t kind = 0; kind < kStateKinds; ++kind)
      part.digest[kind] = proof.digest({tensor, static_cast<StateKind>(kind)});
  }
  return digests;
}

bool Restore::load(const State& state) {
  if (!gather_parts(state)) return false;
  SnapshotBytes bytes(places());
  RectangleReader reader(manifest_, bytes, "memory");
  std::set<int> nodes;
  for (int rank = 0; rank < world_.size(); ++rank) nodes.insert(world_.place(rank).node);
  bool everywhere = true;
  for (const Part& part : parts_) everywhere = everywhere && part.servers.size() == nodes.size();
  if (!everywhere) bytes.fetch(state_, reader, world_);
  const auto loaded = state_.load(reader);
  std::string wrong = wrong_digest(manifest_.tensors, manifest_.states(), loaded, sealed_digests(), world_);
  if (!wrong.empty()) tell(state, wrong);
  return wrong.empty();
}

}  // namespace

std::optional<RestoredState> restore_from_memory(const NodeSnapshots& here, const SavedState& state,
                                                 const Manifest& job, const Communicator& world, int64_t at_least,
                                                 const TellDamage& damaged) {
  Restore restore(here, state, job, world, damaged);
  const Found found = find_states(here, world, at_least);
  for (const State& candidate : found.whole) {
    if (restore.load(candidate)) return RestoredState{candidate.seal, restore.from_copies()};
  }
  if (found.whole.empty() && !found.incomplete.empty() && world.rank() == 0) damaged(found.incomplete);
  return std::nullopt;
}

std::string describe_snapshot(const Manifest& job, const SavedState& state, int rank) {
  Manifest manifest = job;
  // The same whenever the layout is.
  manifest.trainer = nlohmann::json::object();
  manifest.config_hash = {};
  manifest.digests.assign(manifest.tensors.size(), {});
  RankFile& file = manifest.rank_files.emplace_back();
  file.name = rank_file_name(rank);
  file.bytes = state.snapshot_bytes();
  const int64_t array = file.bytes / kStateKinds;
  file.elements = array / static_cast<int64_t>(size_of(state.dtype()));
  file.payload = {0, array, 2 * array};
  file.segments = state.segments();
  return encode(manifest);
}

}  // namespace trident
