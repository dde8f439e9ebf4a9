#include "parallel/tensor/touched_rows.h"

#include <cstring>

#include "core/allocator.h"
#include "kernels/elementwise.h"

namespace trident {
namespace {

// Pages that nobody touches cost nothing.
Tensor allocate(int64_t rows, int64_t columns, DType dtype, Device device) {
  const Shape shape{rows, columns};
  if (device.kind == DeviceKind::meta) return HeapAllocator(device).allocate(shape, dtype);
  return {map_memory(static_cast<size_t>(shape.elements()) * size_of(dtype), Pages::small), 0, shape, dtype};
}

}  // namespace

TouchedRows::TouchedRows(int64_t rows, int64_t columns, DType dtype, Device device)
    : values_(allocate(rows, columns, dtype, device)), slot_of_row_(static_cast<size_t>(rows), -1) {}

Tensor TouchedRows::slots(Context& context, const Tensor& tokens, TableShard shard) {
  Tensor slots = context.activations.allocate(tokens.shape(), DType::int32);
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
  const Shape row{values_.dim(1)};
  for (size_t slot = 0; slot < row_of_slot_.size(); ++slot) {
    const int64_t index = row_of_slot_[slot];
    Tensor from = values_.flat_view(static_cast<int64_t>(slot) * row[0], row);
    Tensor to = table.flat_view(index * row[0], row);
    accumulate(stream, from, to);
    std::memset(from.raw(), 0, from.bytes());
    slot_of_row_[static_cast<size_t>(index)] = -1;
  }
  row_of_slot_.clear();
}

}  // namespace trident
