#include "train/replica_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <map>

#include "checkpoint/file_hash.h"
#include "core/memory.h"

namespace trident {
namespace {

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()};
}

std::string ranks_text(const std::vector<int>& ranks) {
  return fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", fmt::join(ranks, ", "));
}

// The exponent of what is not finite is all ones.
template <class T, class Bits>
bool all_have_less(std::span<const T> values, Bits exponent) {
  return std::all_of(values.begin(), values.end(),
                     [exponent](T value) { return (std::bit_cast<Bits>(value) & exponent) != exponent; });
}

// Along one axis, who differs from most of those that must be equal.
void compare_along(Axis axis, std::span<const StateProof> proofs, uint64_t StateProof::*what, const MeshShape& mesh,
                   MeshOrder order, ProofResult& result) {
  for (int rank = 0; rank < static_cast<int>(proofs.size()); ++rank) {
    MeshCoordinates at = mesh_coordinates(mesh, rank, order);
    int& along = axis == Axis::dp ? at.dp : at.tp;
    if (along != 0 || !result.equal) continue;
    std::map<uint64_t, std::vector<int>> holders;
    for (along = 0; along < mesh[axis]; ++along) {
      const int member = mesh_rank(mesh, at, order);
      holders[proofs[static_cast<size_t>(member)].*what].push_back(member);
    }
    if (holders.size() == 1) continue;
    const auto fewer = [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); };
    const auto& few = std::min_element(holders.begin(), holders.end(), fewer)->second;
    const auto& most = std::max_element(holders.begin(), holders.end(), fewer)->second;
    result.equal = false;
    if (few.size() < most.size()) {
      result.rank = few.front();
      result.text = fmt::format("the weights of {} differ from those of {}", ranks_text(few), ranks_text(most));
    } else {
      std::vector<int> all;
      for (const auto& [value, ranks] : holders) all.insert(all.end(), ranks.begin(), ranks.end());
      std::sort(all.begin(), all.end());
      result.text = fmt::format("the weights of {} differ, and none is in the majority", ranks_text(all));
    }
  }
}

}  // namespace

StateProof prove_state(const Engine& engine, bool as_copied) {
  const ParameterStorage& storage = engine.model().storage();
  const Tensor values = to_host(engine.stream(), storage.values());
  StateProof proof;
  proof.as_copied = as_copied;
  proof.weights = hash_bytes(bytes_of(values)).low;
  if (engine.mesh().shape().tp == 1) return proof;
  for (const Parameter* parameter : storage.parameters()) {
    if (parameter->sharded()) continue;
    const int64_t elements = parameter->local_shape().elements();
    const uint64_t hash = hash_bytes(bytes_of(values.flat_view(parameter->flat_offset, {elements}))).low;
    proof.replicated = std::rotl(proof.replicated, 1) ^ hash;
  }
  return proof;
}

bool weights_are_finite(const Engine& engine) {
  const Tensor values = to_host(engine.stream(), engine.model().storage().values());
  const auto count = static_cast<size_t>(values.elements());
  switch (values.dtype()) {
    case DType::fp64: return all_have_less(std::span(values.data<const double>(), count), uint64_t{0x7FF} << 52);
    case DType::fp32: return all_have_less(std::span(values.data<const float>(), count), 0x7F800000U);
    default: break;
  }
  const std::span bits(static_cast<const uint16_t*>(values.raw()), count);  // bf16
  return std::all_of(bits.begin(), bits.end(), [](uint16_t value) { return (value & 0x7F80U) != 0x7F80U; });
}

ProofResult compare_proofs(std::span<const StateProof> proofs, const MeshShape& mesh, MeshOrder order) {
  ProofResult result;
  const auto changed = std::find_if(proofs.begin(), proofs.end(), [](const auto& proof) { return !proof.as_copied; });
  if (changed != proofs.end()) {
    result.equal = false;
    result.at_rest = true;
    result.rank = static_cast<int>(changed - proofs.begin());
    result.text = fmt::format("the optimizer's state of rank {} is not what it was when the step ended", result.rank);
    return result;
  }
  compare_along(Axis::dp, proofs, &StateProof::weights, mesh, order, result);
  compare_along(Axis::tp, proofs, &StateProof::replicated, mesh, order, result);
  return result;
}

ProofResult compare_proofs(const StateProof& own, const DeviceMesh& mesh, MeshOrder order) {
  constexpr size_t kWords = 3;
  const Communicator& world = mesh.world();
  const int64_t mine[kWords] = {std::bit_cast<int64_t>(own.weights), std::bit_cast<int64_t>(own.replicated),
                                own.as_copied ? 1 : 0};
  std::vector<int64_t> all(static_cast<size_t>(world.size()) * kWords);
  world.all_gather(std::span<const int64_t>(mine), std::span<int64_t>(all));
  std::vector<StateProof> proofs;
  for (size_t at = 0; at < all.size(); at += kWords)
    proofs.push_back({std::bit_cast<uint64_t>(all[at]), std::bit_cast<uint64_t>(all[at + 1]), all[at + 2] != 0});
  return compare_proofs(proofs, mesh.shape(), order);
}

}  // namespace trident
