#pragma once

#include <cstdint>
#include <string>

#include "bench/gpu/bench.h"
#include "kernels/attention.h"
#include "kernels/cuda/attention.h"

/// The lines of bench_gpu_kernels, a function a kernel family.
namespace trident::bench {

struct Model {
  const char* name;
  int64_t batch, sequence, hidden, inner, heads, kv_heads, head_dim, vocabulary;
  bool llama;

  [[nodiscard]] int64_t rows() const { return batch * sequence; }
  [[nodiscard]] AttentionShape attention() const { return {batch, sequence, heads, kv_heads, head_dim}; }
};

// layers.cpp
void bench_norms(Bench& bench, const Model& model);
void bench_activation(Bench& bench, const Model& model);
void bench_rope(Bench& bench, const Model& model);
void bench_embedding(Bench& bench, const Model& model);
void bench_cross_entropy(Bench& bench, int64_t rows, int64_t vocabulary);

// linear.cpp: the products of a layer and of the head
void bench_linears(Bench& bench, const Model& model);
/// The products of a layer with all that fp8 takes, and its rounding alone. Where the GPU has fp8.
void bench_fp8_linears(Bench& bench, const Model& model);
void bench_quantize(Bench& bench, const Model& model);

// attention.cpp: nothing where the kernel does not support the model's shape
void bench_attention(Bench& bench, const Model& model, cuda::AttentionKernel kernel, const std::string& name);

// flat.cpp: on long flat tensors, whatever the model
void bench_elementwise(Bench& bench);
void bench_optimizer(Bench& bench);

}  // namespace trident::bench
