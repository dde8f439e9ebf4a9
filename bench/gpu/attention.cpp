#include <fmt/format.h>

#include "bench/gpu/families.h"

namespace trident::bench {

void bench_attention(Bench& bench, const Model& model, cuda::AttentionKernel kernel, const std::string& name) {
  const Stream& stream = bench.stream;
  const AttentionShape shape = model.attention();
  if (!cuda::attention_kernel_supports(kernel, stream, shape, DType::bf16)) return;
  cuda::use_attention_kernel(kernel);
  const std::string label = fmt::format("{}/{}x{} T{} B{} {}", model.heads, model.kv_heads, model.head_dim,
                                        model.sequence, model.batch, name);
  // Two products of half a score matrix each; backward has five.
  const double forward = 2 * product(model.rows(), model.sequence, model.heads * model.head_dim);
  const Shape qkv{model.batch, model.sequence, shape.qkv_columns()};
  const Shape out{model.batch, model.sequence, model.heads * model.head_dim};
  const Shape lse{model.batch, model.heads, model.sequence};
  bench.line({"attention", "forward", label, Unit::flops, forward}, [&]() -> Call {
    return [=, sums = bench.memory.random(lse, DType::fp32), sets = rotate(bench, {qkv, out})](int64_t i) mutable {
      attention_forward(stream, shape, sets->at(i, 0), sets->at(i, 1), sums);
    };
  });
  bench.line({"attention", "backward", label, Unit::flops, 2.5 * forward}, [&]() -> Call {
    const Tensor input = bench.memory.random(qkv), dout = bench.memory.random(out);
    Tensor result = bench.memory.random(out), sums = bench.memory.random(lse, DType::fp32);
    attention_forward(stream, shape, input, result, sums);
    return [=, sets = rotate(bench, {qkv})](int64_t i) {
      attention_backward(stream, shape, input, result, sums, dout, sets->at(i, 0));
    };
  });
  cuda::use_attention_kernel(cuda::AttentionKernel::automatic);
}

}  // namespace trident::bench
