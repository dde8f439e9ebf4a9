#include "kernels/embedding.h"

#include "kernels/cpu/embedding.h"
#include "kernels/cuda/embedding.h"

namespace trident {

void embedding_forward(const Stream& stream, const Tensor& tokens, const Tensor& table, const Tensor& positions,
                       int64_t first_position, Tensor& y, TableShard shard) {
  TRIDENT_CHECK(tokens.elements() == y.rows() && table.columns() == y.columns() && table.dtype() == y.dtype());
  if (positions.defined()) {
    TRIDENT_CHECK(positions.columns() == y.columns() && positions.dtype() == y.dtype());
    TRIDENT_CHECK(first_position >= 0 && first_position + tokens.columns() <= positions.rows(),
                  "positions up to " + std::to_string(first_position + tokens.columns()) + ", table has " +
                      std::to_string(positions.rows()));
  }
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu:
      return cpu::embedding_forward(stream.pool(), tokens, table, positions, first_position, y, shard);
    case DeviceKind::cuda: return cuda::embedding_forward(stream, tokens, table, positions, first_position, y, shard);
  }
}

void embedding_backward(const Stream& stream, const Tensor& tokens, const Tensor& dy, Tensor& dtable,
                        Tensor& dpositions, TableShard shard) {
  TRIDENT_CHECK(tokens.elements() == dy.rows() && dtable.columns() == dy.columns());
  TRIDENT_CHECK(dtable.dtype() == accumulation_dtype(dy.dtype()));
  if (dpositions.defined()) {
    TRIDENT_CHECK(dpositions.columns() == dy.columns() && dpositions.dtype() == dtable.dtype());
    TRIDENT_CHECK(tokens.columns() <= dpositions.rows());
  }
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::embedding_backward(stream.pool(), tokens, dy, dtable, dpositions, shard);
    case DeviceKind::cuda: return cuda::embedding_backward(stream, tokens, dy, dtable, dpositions, shard);
  }
}

}  // namespace trident
