#include "tests/checkpoint/sample_checkpoint.h"

namespace trident::testing {

SampleCheckpoint::SampleCheckpoint(DType dtype, bool moments, int64_t step) {
  content_.run_id = "sample";
  content_.step = step;
  content_.seed = static_cast<uint64_t>(step);
  content_.dtype = dtype;
  content_.moments = moments;
  content_.tensors = {{"embedding.weight", {13, 6}},
                      {"layers.0.attention.query.weight", {8, 6}},
                      {"layers.0.norm.weight", {7}},
                      {"layers.1.mlp.up.weight", {6, 10}},
                      {"layers.10.kernel", {2, 3, 4}}};
  cut(0, 0, {0, 7, 0, 6});  // rows
  cut(1, 0, {7, 6, 0, 6});
  cut(0, 1, {0, 8, 0, 2});  // columns, of which one half is cut again within a row
  cut(1, 1, {0, 8, 2, 4}, 0, 13);
  cut(2, 1, {0, 8, 2, 4}, 13, 19);
  cut(2, 2, {0, 3, 0, 1});
  cut(3, 2, {3, 4, 0, 1});
  cut(1, 3, whole_block({6, 10}), 0, 23);  // flat runs
  splitting_.ranks[2].elements += 5;       // padding
  cut(2, 3, whole_block({6, 10}), 23, 4);
  cut(3, 3, whole_block({6, 10}), 27, 33);
  cut(2, 4, whole_block({2, 3, 4}), 0, 7);
  cut(3, 4, whole_block({2, 3, 4}), 7, 17);
  splitting_.ranks[3].elements += 2;
}

void SampleCheckpoint::cut(int rank, int tensor, const LogicalBlock& part, int64_t begin, int64_t count) {
  auto& [segments, elements] = splitting_.ranks[static_cast<size_t>(rank)];
  for (const LogicalBlock& block : rectangles_of(part, begin, count)) {
    segments.push_back({tensor, block, elements});
    elements += block.elements();
  }
}

uint64_t SampleCheckpoint::bits(StateKind kind, int tensor, int64_t element) const {
  return content_.bits(kind, static_cast<size_t>(tensor), element);
}

std::vector<std::byte> SampleCheckpoint::tensor_bytes(StateKind kind, int tensor) const {
  const LogicalBlock whole = whole_block(content_.tensors[static_cast<size_t>(tensor)].shape);
  return content_.array_bytes({{{tensor, whole, 0}}, whole.elements()}, kind);
}

}  // namespace trident::testing
