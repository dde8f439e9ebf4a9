#include <fmt/format.h>

#include <set>

#include "bench/gpu/families.h"
#include "bench/random_tensors.h"
#include "kernels/activation.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/norm.h"
#include "kernels/rope.h"

namespace trident::bench {
namespace {

std::string shape_of(int64_t rows, int64_t columns) { return fmt::format("{}x{}", rows, columns); }

}  // namespace

void bench_norms(Bench& bench, const Model& model) {
  const Stream& stream = bench.stream;
  const int64_t rows = model.rows(), columns = model.hidden;
  const double tensor = 2 * product(rows, columns);  // bytes
  const std::string family = model.llama ? "rms norm" : "layer norm", shape = shape_of(rows, columns);
  const auto weights = [&] {
    Tensor bias = model.llama ? Tensor() : bench.memory.random({columns});
    return NormWeights{model.llama ? NormKind::rms : NormKind::layer, 1e-5, bench.memory.random({columns}), bias};
  };
  const auto statistics = [&] { return bench.memory.constant({rows, 2}, 0.5f); };
  const Shape x{rows, columns};
  bench.line({family, "forward", shape, Unit::bytes, 2 * tensor}, [&]() -> Call {
    return [=, sets = rotate(bench, {x, x}), w = weights(), stats = statistics()](int64_t i) mutable {
      norm_forward(stream, w, sets->at(i, 0), sets->at(i, 1), stats);
    };
  });
  bench.line({family, "add and forward", shape, Unit::bytes, 4 * tensor}, [&]() -> Call {
    return [=, sets = rotate(bench, {x, x, x, x}), w = weights(), stats = statistics()](int64_t i) mutable {
      add_norm_forward(stream, w, sets->at(i, 0), sets->at(i, 1), sets->at(i, 2), sets->at(i, 3), stats);
    };
  });
  bench.line({family, "recompute", shape, Unit::bytes, 2 * tensor}, [&]() -> Call {
    return [=, sets = rotate(bench, {x, x}), w = weights(), stats = statistics()](int64_t i) {
      norm_recompute(stream, w, sets->at(i, 0), stats, sets->at(i, 1));
    };
  });
  bench.line({family, "backward", shape, Unit::bytes, 4 * tensor}, [&]() -> Call {
    Tensor sums = bench.memory.random({model.llama ? 1 : 2, columns}, DType::fp32);
    return [=, sets = rotate(bench, {x, x, x, x}), w = weights(), stats = statistics()](int64_t i) mutable {
      norm_backward(stream, w, sets->at(i, 0), sets->at(i, 1), stats, sets->at(i, 2), sets->at(i, 3), sums);
    };
  });
}

void bench_activation(Bench& bench, const Model& model) {
  const Stream& stream = bench.stream;
  const int64_t rows = model.rows(), columns = model.inner;
  const double tensor = 2 * product(rows, columns);
  const std::string family = model.llama ? "swiglu" : "gelu", shape = shape_of(rows, columns);
  const auto forward = model.llama ? swiglu_forward : gelu_forward;
  const auto backward = model.llama ? swiglu_backward : gelu_backward;
  const int64_t wide = model.llama ? 2 : 1;  // tensors that x is as large as
  const Shape x{rows, wide * columns}, y{rows, columns};
  bench.line({family, "forward", shape, Unit::bytes, static_cast<double>(wide + 1) * tensor}, [&]() -> Call {
    return [=, sets = rotate(bench, {x, y})](int64_t i) { forward(stream, sets->at(i, 0), sets->at(i, 1)); };
  });
  bench.line({family, "backward", shape, Unit::bytes, static_cast<double>(2 * wide + 1) * tensor}, [&]() -> Call {
    return [=, sets = rotate(bench, {y, x, x})](int64_t i) {
      Tensor none;
      backward(stream, sets->at(i, 0), sets->at(i, 1), sets->at(i, 2), none);
    };
  });
  bench.line({family, "backward with y", shape, Unit::bytes, static_cast<double>(2 * wide + 2) * tensor},
             [&]() -> Call {
               return [=, sets = rotate(bench, {y, x, x, y})](int64_t i) {
                 backward(stream, sets->at(i, 0), sets->at(i, 1), sets->at(i, 2), sets->at(i, 3));
               };
             });
}

void bench_rope(Bench& bench, const Model& model) {
  const Stream& stream = bench.stream;
  const AttentionShape shape = model.attention();
  const Shape qkv{model.batch, model.sequence, shape.qkv_columns()};
  const double bytes = 4 * product(model.rows(), (model.heads + model.kv_heads) * model.head_dim);
  bench.line({"rope", "forward", shape_of(model.rows(), shape.qkv_columns()), Unit::bytes, bytes}, [&]() -> Call {
    Tensor table = bench.memory.random({model.sequence, model.head_dim}, DType::fp32);
    rope_table(stream, 5e5, table);
    return [=, sets = rotate(bench, {qkv})](int64_t i) {
      rope(stream, shape, table, 0, RopeDirection::forward, sets->at(i, 0));
    };
  });
}

void bench_embedding(Bench& bench, const Model& model) {
  const Stream& stream = bench.stream;
  const int64_t rows = model.rows(), hidden = model.hidden;
  const std::string shape = shape_of(rows, hidden);
  const Shape batch{model.batch, model.sequence};
  bench.line({"embedding", "forward", shape, Unit::bytes, 4 * product(rows, hidden)}, [&]() -> Call {
    const Tensor tokens = bench.memory.indices(batch, model.vocabulary);
    const Tensor table = bench.memory.random({model.vocabulary, hidden});
    const Tensor positions = model.llama ? Tensor() : bench.memory.random({model.sequence, hidden});
    return [=, sets = rotate(bench, {{rows, hidden}})](int64_t i) {
      embedding_forward(stream, tokens, table, positions, 0, sets->at(i, 0));
    };
  });
  // Each gradient is read, and each row of the table that has any is read and written.
  const Tensor tokens = random_indices(batch, model.vocabulary);
  const std::set<int32_t> distinct(tokens.data<int32_t>(), tokens.data<int32_t>() + tokens.elements());
  const double bytes = 2 * product(rows, hidden) + 8 * product(static_cast<int64_t>(distinct.size()), hidden);
  bench.line({"embedding", "backward", shape, Unit::bytes, bytes}, [&]() -> Call {
    Tensor dtable = bench.memory.random({model.vocabulary, hidden}, DType::fp32);
    Tensor dpositions = model.llama ? Tensor() : bench.memory.random({model.sequence, hidden}, DType::fp32);
    return [=, there = bench.memory.upload(tokens), sets = rotate(bench, {{rows, hidden}})](int64_t i) mutable {
      embedding_backward(stream, there, sets->at(i, 0), dtable, dpositions);
    };
  });
}

void bench_cross_entropy(Bench& bench, int64_t rows, int64_t vocabulary) {
  const Stream& stream = bench.stream;
  const double tensor = 2 * product(rows, vocabulary);
  const std::string shape = shape_of(rows, vocabulary);
  bench.line({"cross entropy", "statistics", shape, Unit::bytes, tensor}, [&]() -> Call {
    const Tensor labels = bench.memory.indices({rows}, vocabulary);
    Tensor statistics = bench.memory.random({rows, 3}, DType::fp32);
    return [=, sets = rotate(bench, {{rows, vocabulary}})](int64_t i) mutable {
      cross_entropy_statistics(stream, sets->at(i, 0), labels, 0, statistics);
    };
  });
  bench.line({"cross entropy", "backward", shape, Unit::bytes, 2 * tensor}, [&]() -> Call {
    const Tensor labels = bench.memory.indices({rows}, vocabulary);
    // Repeated on its own output, with a large lse: the values stay ordinary numbers.
    const Tensor lse = bench.memory.constant({rows}, 10.0f);
    return [=, sets = rotate(bench, {{rows, vocabulary}})](int64_t i) {
      cross_entropy_backward(stream, labels, 0, lse, 1.0, sets->at(i, 0));
    };
  });
}

}  // namespace trident::bench
