#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/allocator.h"
#include "core/layout.h"
#include "core/tensor.h"

namespace trident {

/// How a parameter starts: a pure function of (seed, name, global element).
struct Initializer {
  enum class Kind { zeros, ones, normal };
  Kind kind = Kind::zeros;
  double std = 0.0;

  static Initializer zeros() { return {}; }
  static Initializer ones() { return {Kind::ones, 0.0}; }
  static Initializer normal(double std) { return {Kind::normal, std}; }
};

/// What is left to add to a parameter's gradient after the backward passes, on the tensor-parallel axis.
enum class GradientSum {
  none,      ///< it is whole
  axis,      ///< ranks saw different rows (sequence parallelism): sum over the axis
  replicas,  ///< ranks hold the same shard and used it for different heads: sum over them
};

/// One logical tensor of the model and this rank's part of it. Everything that must know how tensors are split
/// (initialisation, norms, checkpoints, export, memory plans) reads it here.
struct Parameter {
  std::string name;    ///< global name, such as layers.3.attention.query.weight
  Shape global_shape;  ///< shape of the whole
  Layout layout;
  Initializer initializer;
  int64_t shard_begin = 0;  ///< first index of the local part along the dimension that layout shards over tp
  int64_t shard_count = 0;  ///< number of indices there; parts need not be equal
  GradientSum gradient_sum = GradientSum::none;
  /// A second copy of a tied embedding, on the pipeline rank of the head: stepped there, but counted and saved with the
  /// first.
  bool tied_copy = false;

  Tensor value;             ///< local part, compute dtype
  Tensor grad;              ///< local part, accumulation dtype; backward passes add to it
  int64_t flat_offset = 0;  ///< first element of the local part in the rank's flat storage

  /// AdamW decays matrices and embeddings, but neither gains nor biases.
  [[nodiscard]] bool decays() const { return global_shape.rank() >= 2; }
  [[nodiscard]] bool sharded() const { return layout[Axis::tp].kind == Placement::Kind::shard; }
  [[nodiscard]] Shape local_shape() const {
    return sharded() ? global_shape.with(layout[Axis::tp].dim, shard_count) : global_shape;
  }
};

/// Parameters that are stored one behind the other, so that kernels may treat them as one matrix: query, key and value
/// are three logical tensors and one product. Most groups have one member.
struct ParameterGroup {
  std::vector<Parameter> members;
  Tensor value;  ///< all members' rows, compute dtype
  Tensor grad;   ///< the same, accumulation dtype

  ParameterGroup() = default;
  explicit ParameterGroup(std::vector<Parameter> parameters) : members(std::move(parameters)) {}
};

/// Gives zeroed memory for the weights or the gradients of a rank.
using FlatAllocator = std::function<Tensor(int64_t elements, DType dtype)>;

/// The rank's weights and gradients as two flat pieces of memory, groups aligned, gaps zero. With bf16 compute
/// there is a third: the fp32 master weights, which the optimizer steps and the compute weights are rounded from.
class ParameterStorage {
 public:
  /// Groups start at multiples of it: 256 bytes of fp32, which suits vector loads everywhere.
  static constexpr int64_t kGroupAlignment = 64;

  /// Allocates for `groups` (on the meta device: only counts) and points their tensors into it. `allocate`, where
  /// given, provides compute weights and gradients: memory that other ranks reach, for example.
  ParameterStorage(const std::vector<ParameterGroup*>& groups, DType compute, Device device,
                   const FlatAllocator& allocate = {});

  /// Gives every parameter its initial value for `seed`, in parallel on `stream`.
  void initialize(uint64_t seed, const Stream& stream);
  /// Rounds the master weights into the compute weights; nothing to do where they are the same memory.
  void refresh_compute_weights(const Stream& stream);
  void zero_gradients(const Stream& stream);
  /// Gives the master weights' memory back where the compute weights are apart: from now on the ranks of an optimizer
  /// hold them, each a part. master() is then undefined. Nothing to do where they are the same memory.
  void release_master();

  [[nodiscard]] std::span<Parameter* const> parameters() const { return parameters_; }
  [[nodiscard]] Parameter& find(const std::string& name) const;
  [[nodiscard]] DType compute_dtype() const { return values_.dtype(); }
  [[nodiscard]] Tensor values() const { return values_; }  ///< flat, compute dtype
  [[nodiscard]] Tensor master() const { return master_; }  ///< flat, accumulation dtype; == values() unless bf16
  [[nodiscard]] Tensor grads() const { return grads_; }    ///< flat, accumulation dtype
  /// This parameter's part of master().
  [[nodiscard]] Tensor master_of(const Parameter& parameter) const;

 private:
  std::vector<Parameter*> parameters_;
  Tensor values_, master_, grads_;
};

}  // namespace trident
