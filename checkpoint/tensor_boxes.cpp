#include "checkpoint/tensor_boxes.h"

#include <algorithm>

namespace trident {
namespace {

/// Elements of one slice of dimension `dim`.
int64_t slice_of(const Shape& shape, int dim) {
  int64_t slice = 1;
  for (int inner = dim + 1; inner < shape.rank(); ++inner) slice *= shape[inner];
  return slice;
}

/// The outermost dimension of which whole slices begin at column `begin` and fit before `end`.
int sliced_dim(const Shape& shape, int64_t begin, int64_t end) {
  int dim = 1;
  while (begin % slice_of(shape, dim) != 0 || slice_of(shape, dim) > end - begin) ++dim;
  return dim;
}

}  // namespace

std::vector<TensorBox> tensor_boxes(const Shape& shape, const LogicalBlock& block) {
  std::vector<TensorBox> boxes;
  if (block.elements() == 0) return boxes;
  const int64_t end = block.column0 + block.columns;
  for (int64_t begin = block.column0; begin < end;) {
    TensorBox& box = boxes.emplace_back();
    box.start[0] = block.row0;
    box.count[0] = block.rows;
    box.skip = begin - block.column0;
    box.run = 1;
    const int sliced = shape.rank() == 1 ? 1 : sliced_dim(shape, begin, end);
    for (int dim = 1; dim < shape.rank(); ++dim) {
      const auto d = static_cast<size_t>(dim);
      const int64_t slice = slice_of(shape, dim);
      box.start[d] = begin / slice % shape[dim];
      box.count[d] = dim < sliced ? 1 : shape[dim];
      if (dim == sliced) box.count[d] = std::min((end - begin) / slice, shape[dim] - box.start[d]);
      box.run *= box.count[d];
    }
    begin += box.run;
  }
  return boxes;
}

}  // namespace trident
