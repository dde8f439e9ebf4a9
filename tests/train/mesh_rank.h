#pragma once

#include <optional>
#include <string>

#include "core/philox.h"
#include "model/model.h"
#include "parallel/comm/device_mesh.h"
#include "parallel/data/sharded_optimizer.h"
#include "tests/model/global_index.h"
#include "tests/model/sized_model.h"

namespace trident::testing {

/// Fewer key-value heads than some tensor-parallel groups have ranks; a vocabulary that divides by nothing.
inline ModelConfig config_of(Family family) {
  const bool llama = family == Family::llama_gqa || family == Family::llama_tied;
  return sized_model(
      family,
      {.width = {24, 40}, .layers = 3, .heads = {8, llama ? 2 : 8, llama ? 4 : 3}, .vocabulary = 37, .positions = 9});
}

struct Variant {
  ModelConfig config;
  DType compute = DType::fp32;
  ZeroStage zero = ZeroStage::optimizer_state;
};

/// Up to eight ranks in all.
inline constexpr MeshShape kMeshes[] = {{1, 1, 1}, {3, 1, 1}, {1, 2, 1}, {1, 1, 5}, {2, 2, 2},
                                        {1, 4, 2}, {2, 4, 1}, {1, 8, 1}, {4, 1, 2}, {2, 1, 3}};

/// A value for an element of a logical tensor; some are -0.0.
inline double made_up(const std::string& name, int64_t element) {
  if (element % 11 == 3) return -0.0;
  return RandomStream(7, name).uniform(static_cast<uint64_t>(element)) - 0.5;
}

template <class T>
void fill_made_up(const Parameter& parameter, T* out) {
  for (int64_t i = 0; i < parameter.local_shape().elements(); ++i)
    out[i] = static_cast<T>(made_up(parameter.name, global_index(parameter, i)));
}

inline void fill_made_up(ParameterStorage& storage, const Stream& stream) {
  for (const Parameter* parameter : storage.parameters()) {
    const Tensor master = storage.master_of(*parameter);
    if (master.dtype() == DType::fp64)
      fill_made_up(*parameter, master.data<double>());
    else
      fill_made_up(*parameter, master.data<float>());
  }
  storage.refresh_compute_weights(stream);
}

/// The whole model, filled with made-up values.
inline Model whole_model(const Variant& variant) {
  const Stream stream = Stream::cpu(1);
  Model model(variant.config, variant.compute, Recompute::none, stream);
  fill_made_up(model.storage(), stream);
  return model;
}

/// A rank's part of the model.
inline Model part_of_model(const DeviceMesh& mesh, const Variant& variant) {
  TensorParallel tp;
  tp.comm = mesh.axis(Axis::tp);
  const ShardRange layers = shard_range(variant.config.num_hidden_layers + 2, mesh.coordinates().pp, mesh.shape().pp);
  return {variant.config, variant.compute, Recompute::none, Stream::cpu(1),
          ModelPart{tp, {{layers.begin, layers.begin + layers.count}}, {}}};
}

/// A rank of a mesh with its part of the made-up model and of the optimizer's state.
struct MeshRank {
  MeshRank(const Communicator& world, const MeshShape& shape, const Variant& variant,
           const MeshOrder& order = kDefaultMeshOrder)
      : mesh(world, shape, order), model(part_of_model(mesh, variant)) {
    ParameterStorage& storage = model.storage();
    fill_made_up(storage, Stream::cpu(1));
    const FlatPartition partition(storage.grads().elements(), shape.dp, 700);
    optimizer.emplace(Stream::cpu(1), storage, AdamWOptions{},
                      OptimizerSharding{mesh.axis(Axis::dp), variant.zero, partition, {}, {}});
  }

  DeviceMesh mesh;
  Model model;
  std::optional<ShardedOptimizer> optimizer;
};

inline std::string bytes_of(const Tensor& tensor) { return {static_cast<const char*>(tensor.raw()), tensor.bytes()}; }

}  // namespace trident::testing
