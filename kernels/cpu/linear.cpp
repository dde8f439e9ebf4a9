#include "kernels/cpu/linear.h"

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/rows.h"

// Every product is cut into blocks of its output (BlockGrid), also where it accumulates: no two blocks write the same
// element and none is a partial sum, so results do not depend on who computes which block.

namespace trident::cpu {
namespace {

int64_t leading(int64_t columns) { return std::max<int64_t>(1, columns); }

/// One block of out = op(a)·op(b) in activations: overwritten, rounded once.
template <class T>
void activation_block(const Gemms& gemms, GemmCall<T> call, const T* bias) {
  gemms(call);
  if (bias != nullptr) add_bias(call.c, call.ldc, bias, call.m, call.n);
}

void activation_block(const Gemms& gemms, const GemmCall<bfloat16>& call, const bfloat16* bias) {
  auto* const product = thread_scratch<float>(ScratchSlot::product, call.m * call.n);
  gemms(GemmCall<float>{call.form, call.m, call.n, call.k, nullptr, call.lda, nullptr, call.ldb, product, call.n},
        call.a, call.b);
  if (bias != nullptr) add_bias(product, call.n, bias, call.m, call.n);
  convert_rows(product, call.n, call.c, call.ldc, call.m, call.n);
}

template <class T>
void forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y) {
  const int64_t in = x.columns();
  const int64_t out = y.columns();
  const Gemms gemms(stream);
  const BlockGrid grid(y.rows(), out);
  stream.pool().parallel_for(grid.count(), [&](int64_t index) {
    const auto block = grid.block(index);
    activation_block(gemms,
                     GemmCall<T>{GemmForm::nt, block.rows, block.columns, in, x.data<T>() + block.row * in, leading(in),
                                 w.data<T>() + block.column * in, leading(in),
                                 y.data<T>() + block.row * out + block.column, leading(out)},
                     bias.defined() ? bias.data<T>() + block.column : nullptr);
  });
}

template <class T>
void backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, Tensor& dx) {
  const int64_t in = dx.columns();
  const int64_t out = dy.columns();
  const Gemms gemms(stream);
  const BlockGrid grid(dx.rows(), in);
  const T* no_bias = nullptr;
  stream.pool().parallel_for(grid.count(), [&](int64_t index) {
    const auto block = grid.block(index);
    activation_block(
        gemms,
        GemmCall<T>{GemmForm::nn, block.rows, block.columns, out, dy.data<T>() + block.row * out, leading(out),
                    w.data<T>() + block.column, leading(in), dx.data<T>() + block.row * in + block.column, leading(in)},
        no_bias);
  });
}

/// Adds op(a)·op(b) to c, which is of the accumulation dtype.
template <class T>
void add_product(const Gemms& gemms, const GemmCall<T>& shape, const T* a, const T* b) {
  GemmCall<T> call = shape;
  call.a = a;
  call.b = b;
  gemms(call);
}
void add_product(const Gemms& gemms, const GemmCall<float>& shape, const bfloat16* a, const bfloat16* b) {
  gemms(shape, a, b);
}

template <class T, class Sum>
void backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dw, Tensor& dbias) {
  const int64_t rows = dy.rows();
  const int64_t in = dw.columns();
  const int64_t out = dw.rows();
  const Gemms gemms(stream);
  const BlockGrid grid(out, in);
  stream.pool().parallel_for(grid.count(), [&](int64_t index) {
    const auto block = grid.block(index);
    const T* dy_columns = dy.data<T>() + block.row;
    GemmCall<Sum> call{GemmForm::tn, block.rows, block.columns, rows};
    call.lda = leading(out);
    call.ldb = leading(in);
    call.c = dw.data<Sum>() + block.row * in + block.column;
    call.ldc = leading(in);
    call.beta = Sum(1);
    add_product(gemms, call, dy_columns, x.data<T>() + block.column);
    // While this block's columns of dy are in the cache; once for all blocks that share them.
    if (block.column == 0 && dbias.defined()) {
      add_column_sums(dy_columns, out, rows, block.rows, dbias.data<Sum>() + block.row);
    }
  });
}

}  // namespace

void linear_forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y) {
  switch (x.dtype()) {
    case DType::fp64: return forward<double>(stream, x, w, bias, y);
    case DType::fp32: return forward<float>(stream, x, w, bias, y);
    case DType::bf16: return forward<bfloat16>(stream, x, w, bias, y);
    case DType::int32: break;
  }
  TRIDENT_CHECK(false, "matrix product of integers");
}

void linear_backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, Tensor& dx) {
  switch (dy.dtype()) {
    case DType::fp64: return backward_input<double>(stream, dy, w, dx);
    case DType::fp32: return backward_input<float>(stream, dy, w, dx);
    case DType::bf16: return backward_input<bfloat16>(stream, dy, w, dx);
    case DType::int32: break;
  }
  TRIDENT_CHECK(false, "matrix product of integers");
}

void linear_backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dw, Tensor& dbias) {
  switch (dy.dtype()) {
    case DType::fp64: return backward_weight<double, double>(stream, dy, x, dw, dbias);
    case DType::fp32: return backward_weight<float, float>(stream, dy, x, dw, dbias);
    case DType::bf16: return backward_weight<bfloat16, float>(stream, dy, x, dw, dbias);
    case DType::int32: break;
  }
  TRIDENT_CHECK(false, "matrix product of integers");
}

void record_linear_forward(GemmRecorder& recorder, const Tensor& x, const Tensor& w) {
  record_grid(recorder, GemmForm::nt, x.rows(), w.rows(), x.columns(), x.dtype());
}

void record_linear_backward_input(GemmRecorder& recorder, const Tensor& dy, const Tensor& w) {
  record_grid(recorder, GemmForm::nn, dy.rows(), w.columns(), dy.columns(), dy.dtype());
}

void record_linear_backward_weight(GemmRecorder& recorder, const Tensor& dy, const Tensor& x) {
  record_grid(recorder, GemmForm::tn, dy.columns(), x.columns(), dy.rows(), dy.dtype());
}

}  // namespace trident::cpu
