#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parallel/comm/device_mesh.h"
#include "train/engine.h"

namespace trident {

/// What a rank says of its state, to be compared with the others'.
struct StateProof {
  uint64_t weights = 0;     ///< of all weights that it computes with
  uint64_t replicated = 0;  ///< of those that every tensor-parallel rank holds whole
  bool as_copied = true;    ///< the optimizer's state is what its snapshot says
  bool operator==(const StateProof&) const = default;
};

struct ProofResult {
  bool equal = true;
  int rank = -1;         ///< whose memory is wrong; -1 where it cannot be told
  bool at_rest = false;  ///< it changed since the snapshot was taken, which may still be right
  std::string text;      ///< who differs from whom
};

/// One pass over the rank's weights, which are those of the last step.
[[nodiscard]] StateProof prove_state(const Engine& engine, bool as_copied);

/// No weight is infinite or no number.
[[nodiscard]] bool weights_are_finite(const Engine& engine);

/// Compares what must be equal: weights along dp, replicated ones along tp. Who differs from most is wrong; of two, who
/// knows it of itself. `proofs` by rank.
[[nodiscard]] ProofResult compare_proofs(std::span<const StateProof> proofs, const MeshShape& mesh, MeshOrder order);

/// The same, on every rank. Collective over the world.
[[nodiscard]] ProofResult compare_proofs(const StateProof& own, const DeviceMesh& mesh, MeshOrder order);

}  // namespace trident
