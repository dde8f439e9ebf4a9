#include "parallel/tensor/tensor_parallel.h"

namespace trident {

TensorParallel::Started TensorParallel::start_gather_rows(Context& context, const Tensor& local) const {
  if (!cuts_rows()) return {local, local, {}};
  Tensor whole = context.activations.allocate(local.shape().with(0, local.dim(0) * comm.size()), local.dtype());
  Pending pending = comm.all_gather_async(local, whole);
  return {std::move(whole), local, std::move(pending)};
}

TensorParallel::Started TensorParallel::start_reduce_rows(Context& context, const Tensor& partial) const {
  if (!cuts_rows()) return {partial, partial, comm.all_reduce_async(partial)};
  Tensor mine = context.activations.allocate(partial.shape().with(0, partial.dim(0) / comm.size()), partial.dtype());
  Pending pending = comm.reduce_scatter_async(partial, mine);
  return {std::move(mine), partial, std::move(pending)};
}

Tensor TensorParallel::gather_rows(Context& context, const Tensor& local) const {
  Started started = start_gather_rows(context, local);
  started.pending.wait();
  return started.out;
}

Tensor TensorParallel::reduce_rows(Context& context, const Tensor& partial) const {
  Started started = start_reduce_rows(context, partial);
  started.pending.wait();
  return started.out;
}

ShardRange shard_range(int64_t extent, int rank, int size) {
  const int64_t base = extent / size, larger = extent % size;
  return {rank * base + std::min<int64_t>(rank, larger), base + (rank < larger ? 1 : 0)};
}

void shard_parameter(Parameter& parameter, int dim, ShardRange range) {
  parameter.layout = Layout::tensor_parallel(dim);
  parameter.shard_begin = range.begin;
  parameter.shard_count = range.count;
}

TensorParallel join_tensor_parallel(const Communicator& comm, int64_t kv_heads, bool sequence_parallel) {
  TensorParallel tp{comm, Communicator::self("tp replicas"), sequence_parallel};
  const int copies = static_cast<int>(comm.size() / kv_heads);
  if (copies <= 1 || comm.is_meta()) return tp;  // on paper nothing is summed
  tp.replicas = comm.split(comm.rank() / copies, comm.rank(), "tp replicas");
  return tp;
}

void sum_partial_gradient(const Parameter& parameter, const TensorParallel& tp) {
  if (parameter.gradient_sum == GradientSum::axis) tp.comm.all_reduce(parameter.grad);
  if (parameter.gradient_sum == GradientSum::replicas) tp.replicas.all_reduce(parameter.grad);
}

}  // namespace trident
