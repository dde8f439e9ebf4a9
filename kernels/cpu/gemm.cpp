#include "kernels/cpu/gemm.h"

#include <array>
#include <memory>
#include <new>

#include "kernels/cpu/rows.h"

namespace trident::cpu {
namespace {

constexpr int64_t kMostRows = 512;
constexpr int64_t kFewestRows = 128;
constexpr int64_t kBlockColumns = 512;
constexpr int64_t kEnoughBlocks = 16;  // below it, blocks become less high: threads would run dry
constexpr int64_t kColumnGranule = 64;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct AlignedDelete {
  void operator()(std::byte* memory) const { ::operator delete[](memory, std::align_val_t{64}); }
};

struct Scratch {
  std::unique_ptr<std::byte[], AlignedDelete> memory;
  size_t bytes = 0;
};

}  // namespace

BlockGrid::BlockGrid(int64_t m, int64_t n) : m_(m), n_(n) {
  const int64_t even = ceil_div(n, std::max<int64_t>(1, ceil_div(n, kBlockColumns)));
  block_columns_ = std::max<int64_t>(1, ceil_div(even, kColumnGranule) * kColumnGranule);
  across_ = ceil_div(n, block_columns_);
  block_rows_ = kMostRows;
  while (block_rows_ > kFewestRows && ceil_div(m, block_rows_) * across_ < kEnoughBlocks) block_rows_ /= 2;
  down_ = ceil_div(m, block_rows_);
}

BlockGrid::Block BlockGrid::block(int64_t index) const {
  const bool rows_first = down_ <= across_;
  const int64_t row = (rows_first ? index % down_ : index / across_) * block_rows_;
  const int64_t column = (rows_first ? index / down_ : index % across_) * block_columns_;
  return {row, std::min(block_rows_, m_ - row), column, std::min(block_columns_, n_ - column)};
}

void Gemms::operator()(const GemmCall<float>& shape, const bfloat16* a, const bfloat16* b) const {
  const bool a_transposed = shape.form == GemmForm::tn;  // inner dimension outermost in memory
  const bool b_transposed = shape.form == GemmForm::nt;  // inner dimension innermost in memory
  const int64_t depth = std::min(shape.k, kConvertedDepth);
  auto* const a_values = thread_scratch<float>(ScratchSlot::converted_a, shape.m * depth);
  auto* const b_values = thread_scratch<float>(ScratchSlot::converted_b, shape.n * depth);
  GemmCall<float> call = shape;
  call.a = a_values;
  call.b = b_values;
  for (int64_t begin = 0; begin == 0 || begin < shape.k; begin += kConvertedDepth) {
    const int64_t k = std::min(kConvertedDepth, shape.k - begin);
    call.k = k;
    call.lda = std::max<int64_t>(1, a_transposed ? shape.m : k);
    call.ldb = std::max<int64_t>(1, b_transposed ? k : shape.n);
    convert_rows(a_transposed ? a + begin * shape.lda : a + begin, shape.lda, a_values, call.lda,
                 a_transposed ? k : shape.m, a_transposed ? shape.m : k);
    convert_rows(b_transposed ? b + begin : b + begin * shape.ldb, shape.ldb, b_values, call.ldb,
                 b_transposed ? shape.n : k, b_transposed ? k : shape.n);
    call.beta = begin == 0 ? shape.beta : 1.0f;
    (*this)(call, DType::bf16);
  }
}

void record_gemm(GemmRecorder& recorder, const GemmKey& key, const GemmStrides& strides) {
  if (key.dtype == DType::fp64 || key.m <= 0 || key.n <= 0 || key.k <= 0) return;  // one library has dgemm
  if (key.dtype != DType::bf16) return recorder.record(key, strides);
  const GemmStrides converted{0, 0, strides.c};  // bf16 operands become packed fp32
  if (key.k <= kConvertedDepth) return recorder.record(key, converted);
  GemmKey part = key;
  part.k = kConvertedDepth;
  recorder.record(part, converted);
  part.k = key.k % kConvertedDepth;
  if (part.k != 0) recorder.record(part, converted);
}

void record_grid(GemmRecorder& recorder, GemmForm form, int64_t m, int64_t n, int64_t k, DType dtype) {
  if (m <= 0 || n <= 0) return;
  const BlockGrid grid(m, n);
  const auto first = grid.block(0);
  const auto last = grid.block(grid.count() - 1);
  for (const int64_t rows : {first.rows, last.rows}) {
    for (const int64_t columns : {first.columns, last.columns}) {
      record_gemm(recorder, {form, rows, columns, k, dtype},
                  {form == GemmForm::tn ? m : k, form == GemmForm::nt ? k : n, n});
    }
  }
}

void* thread_scratch(ScratchSlot slot, size_t bytes) {
  thread_local std::array<Scratch, static_cast<size_t>(ScratchSlot::count)> slots;
  Scratch& scratch = slots[static_cast<size_t>(slot)];
  if (scratch.bytes < bytes || scratch.memory == nullptr) {
    scratch.memory.reset();
    scratch.memory.reset(new (std::align_val_t{64}) std::byte[std::max<size_t>(bytes, 64)]);
    scratch.bytes = bytes;
  }
  return scratch.memory.get();
}

}  // namespace trident::cpu
