#include "parallel/tensor/touched_rows.h"

#include "core/memory.h"
#include "kernels/elementwise.h"

namespace trident {

TouchedRows::TouchedRows(int64_t rows, int64_t columns, DType dtype, Device device)
    : values_(allocate_zeroed(device, {rows, columns}, dtype, Pages::small)),
      slot_of_row_(static_cast<size_t>(rows), -1) {}

Tensor TouchedRows::slots(const Tensor& tokens, TableShard shard) {
  // Not an activation: what is planned on paper must suit devices that need none.
  if (!slots_.defined() || slots_.elements() < tokens.elements())
    slots_ = HeapAllocator(tokens.device()).allocate({tokens.elements()}, DType::int32);
  Tensor slots = slots_.flat_view(0, tokens.shape());
  if (tokens.raw() == nullptr) return slots;
  const auto* token = tokens.data<int32_t>();
  auto* slot = slots.data<int32_t>();
  for (int64_t i = 0; i < tokens.elements(); ++i) {
    const int64_t row = token[i] - shard.first;
    if (row < 0 || row >= rows()) {
      slot[i] = static_cast<int32_t>(rows());
      continue;
    }
    int32_t& known = slot_of_row_[static_cast<size_t>(row)];
    if (known < 0) {
      known = static_cast<int32_t>(row_of_slot_.size());
      row_of_slot_.push_back(static_cast<int32_t>(row));
    }
    slot[i] = known;
  }
  return slots;
}

void TouchedRows::move_to(const Stream& stream, Tensor& table) {
  if (is_dense()) {
    accumulate(stream, values_, table);
    return set_zero(stream, values_);
  }
  const Shape row{values_.dim(1)};
  for (size_t slot = 0; slot < row_of_slot_.size(); ++slot) {
    const int64_t index = row_of_slot_[slot];
    Tensor from = values_.flat_view(static_cast<int64_t>(slot) * row[0], row);
    Tensor to = table.flat_view(index * row[0], row);
    accumulate(stream, from, to);
    set_zero(stream, from);
    slot_of_row_[static_cast<size_t>(index)] = -1;
  }
  row_of_slot_.clear();
}

}  // namespace trident
