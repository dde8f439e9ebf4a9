#pragma once

#include <optional>

#include "core/layer.h"
#include "parallel/comm/communicator.h"

namespace trident {

/// A rank's place on the tensor-parallel axis, and the two moves of its layers. Hidden states are [rows, hidden], a row
/// a token of the microbatch. Every rank holds all rows; with sequence parallelism each holds an equal run of them
/// wherever work is row by row (norms, residual stream). Korthikanti et al., "Reducing activation recomputation in
/// large transformer models" (2022), section 4.2.2.
struct TensorParallel {
  Communicator comm = Communicator::self("tp");
  /// Ranks that hold the same key-value heads, where there are fewer of those than ranks.
  Communicator replicas = Communicator::self("tp replicas");
  bool sequence_parallel = false;

  [[nodiscard]] bool cuts_rows() const { return sequence_parallel && comm.size() > 1; }

  /// All rows from this rank's: collective over tp with sequence parallelism, otherwise the tensor itself.
  [[nodiscard]] Tensor gather_rows(Context& context, const Tensor& local) const;
  /// This rank's rows of the sum of all ranks' `partial`. Collective; the sum over one rank is the tensor itself.
  [[nodiscard]] Tensor reduce_rows(Context& context, const Tensor& partial) const;

  /// The same, started: neither tensor may be touched before `pending` is done.
  struct Started {
    Tensor out;
    Tensor source;
    Pending pending;
  };
  [[nodiscard]] Started start_gather_rows(Context& context, const Tensor& local) const;
  [[nodiscard]] Started start_reduce_rows(Context& context, const Tensor& partial) const;
};

/// A contiguous part of a dimension.
struct ShardRange {
  int64_t begin = 0;
  int64_t count = 0;
};

/// Part `rank` of `extent` cut into `size` parts, the first ones one larger where it does not divide.
[[nodiscard]] ShardRange shard_range(int64_t extent, int rank, int size);

/// Makes `parameter` this part of its dimension `dim`.
void shard_parameter(Parameter& parameter, int dim, ShardRange range);

/// This rank's place on the tensor-parallel axis of a model with so many key-value heads. Collective over `comm`.
[[nodiscard]] TensorParallel join_tensor_parallel(const Communicator& comm, int64_t kv_heads, bool sequence_parallel);

/// Completes a gradient that backward passes left partial (Parameter::gradient_sum). Collective over tp; once for each
/// sum of microbatches.
void sum_partial_gradient(const Parameter& parameter, const TensorParallel& tp);

}  // namespace trident
