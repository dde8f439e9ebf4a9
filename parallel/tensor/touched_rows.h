#pragma once

#include <vector>

#include "core/layer.h"
#include "kernels/embedding.h"

namespace trident {

/// The gradient of an embedding table, of the rows whose tokens were seen only. A tied embedding keeps its own
/// gradient apart from the head's until both are whole: head + embedding then has the same bits whether the two are
/// on one pipeline rank or on two. On the CPU it takes memory for the rows that were touched, not for the table; on a
/// GPU, where memory comes whole and the tokens are not at hand, every row has its place.
class TouchedRows {
 public:
  TouchedRows(int64_t rows, int64_t columns, DType dtype, Device device);

  /// Where the tokens' rows lie in values(), in the tokens' shape; rows() for tokens outside the shard. Valid until the
  /// next call.
  [[nodiscard]] Tensor slots(const Tensor& tokens, TableShard shard);
  /// Row i of the table is row i of values(): there are no slots.
  [[nodiscard]] bool is_dense() const { return values_.device().kind == DeviceKind::cuda; }
  [[nodiscard]] int64_t rows() const { return static_cast<int64_t>(slot_of_row_.size()); }
  [[nodiscard]] const Tensor& values() const { return values_; }
  /// table += the touched rows; then none is touched.
  void move_to(const Stream& stream, Tensor& table);

 private:
  Tensor values_;  // [rows, columns], the first ones in use
  Tensor slots_;
  std::vector<int32_t> slot_of_row_;  // -1: untouched
  std::vector<int32_t> row_of_slot_;
};

}  // namespace trident
