#include "kernels/rope.h"

#include "kernels/cpu/rope.h"
#include "kernels/cuda/rope.h"

namespace trident {

void rope_table(const Stream& stream, double theta, Tensor& table) {
  TRIDENT_CHECK(table.columns() % 2 == 0, "head_dim " + std::to_string(table.columns()) + " is odd");
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::rope_table(stream.pool(), theta, table);
    case DeviceKind::cuda: return cuda::rope_table(stream, theta, table);
  }
}

void rope(const Stream& stream, const AttentionShape& shape, const Tensor& table, int64_t first_position,
          RopeDirection direction, Tensor& qkv) {
  TRIDENT_CHECK(qkv.elements() == shape.batch * shape.sequence * shape.qkv_columns());
  TRIDENT_CHECK(table.columns() == shape.head_dim && shape.head_dim % 2 == 0);
  TRIDENT_CHECK(table.dtype() == accumulation_dtype(qkv.dtype()));
  TRIDENT_CHECK(first_position >= 0 && first_position + shape.sequence <= table.rows(),
                "positions up to " + std::to_string(first_position + shape.sequence) + ", table has " +
                    std::to_string(table.rows()));
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::rope(stream.pool(), shape, table, first_position, direction, qkv);
    case DeviceKind::cuda: return cuda::rope(stream, shape, table, first_position, direction, qkv);
  }
}

}  // namespace trident
