#include "kernels/attention.h"

#include <gtest/gtest.h>

#include "kernels/gemm_tuning.h"
#include "tests/kernels/random_tensors.h"

namespace trident {
namespace {

using namespace trident::testing;

struct Case {
  DType dtype;
  AttentionShape shape;
};

void PrintTo(const Case& c, std::ostream* out) {
  const auto& s = c.shape;
  *out << to_string(c.dtype) << " b" << s.batch << " t" << s.sequence << " h" << s.heads << "/" << s.kv_heads << " d"
       << s.head_dim;
}

/// Attention and its gradient by the definition, in fp64, one score matrix per head.
struct Reference {
  Reference(const AttentionShape& s, const std::vector<double>& qkv)
      : shape(s),
        out(at(s.batch * s.sequence * s.heads * s.head_dim)),
        lse(at(s.batch * s.heads * s.sequence)),
        dqkv(qkv.size()),
        qkv_(qkv) {
    for_heads([&](int64_t b, int64_t h) { forward(b, h); });
  }

  void backward(const std::vector<double>& dout) {
    for_heads([&](int64_t b, int64_t h) {
      for (int64_t t = 0; t < shape.sequence; ++t) backward_row(b, h, t, dout);
    });
  }

  static size_t at(int64_t i) { return static_cast<size_t>(i); }
  template <class F>
  void for_heads(const F& f) const {
    for (int64_t b = 0; b < shape.batch; ++b) {
      for (int64_t h = 0; h < shape.heads; ++h) f(b, h);
    }
  }
  /// Offset of column block `head` (queries, then keys, then values) of position t.
  size_t place(int64_t b, int64_t t, int64_t head) const {
    return at((b * shape.sequence + t) * shape.qkv_columns() + head * shape.head_dim);
  }
  size_t key(int64_t b, int64_t t, int64_t h) const { return place(b, t, shape.heads + h / group()); }
  size_t value(int64_t b, int64_t t, int64_t h) const {
    return place(b, t, shape.heads + shape.kv_heads + h / group());
  }
  int64_t group() const { return shape.heads / shape.kv_heads; }
  size_t out_place(int64_t b, int64_t t, int64_t h) const {
    return at(((b * shape.sequence + t) * shape.heads + h) * shape.head_dim);
  }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(shape.head_dim)); }

  std::vector<double> probabilities(int64_t b, int64_t h, int64_t t, double* row_lse) const {
    std::vector<double> p;
    double total = 0;
    for (int64_t s = 0; s <= t; ++s) {
      double dot = 0;
      for (size_t d = 0; d < at(shape.head_dim); ++d) dot += qkv_[place(b, t, h) + d] * qkv_[key(b, s, h) + d];
      p.push_back(std::exp(dot * scale()));
      total += p.back();
    }
    for (double& value : p) value /= total;
    if (row_lse != nullptr) *row_lse = std::log(total);
    return p;
  }

  void forward(int64_t b, int64_t h) {
    for (int64_t t = 0; t < shape.sequence; ++t) {
      const auto p = probabilities(b, h, t, &lse[at((b * shape.heads + h) * shape.sequence + t)]);
      for (int64_t s = 0; s <= t; ++s) {
        for (size_t d = 0; d < at(shape.head_dim); ++d)
          out[out_place(b, t, h) + d] += p[at(s)] * qkv_[value(b, s, h) + d];
      }
    }
  }

  void backward_row(int64_t b, int64_t h, int64_t t, const std::vector<double>& dout) {
    const auto p = probabilities(b, h, t, nullptr);
    std::vector<double> dp(p.size());
    double mean = 0;
    for (size_t s = 0; s < p.size(); ++s) {
      for (size_t d = 0; d < at(shape.head_dim); ++d) {
        const double upstream = dout[out_place(b, t, h) + d];
        const size_t v = value(b, static_cast<int64_t>(s), h) + d;
        dp[s] += upstream * qkv_[v];
        dqkv[v] += p[s] * upstream;
      }
      mean += p[s] * dp[s];
    }
    for (size_t s = 0; s < p.size(); ++s) {
      const double ds = p[s] * (dp[s] - mean) * scale();
      for (size_t d = 0; d < at(shape.head_dim); ++d) {
        const size_t q = place(b, t, h) + d;
        const size_t k = key(b, static_cast<int64_t>(s), h) + d;
        dqkv[q] += ds * qkv_[k];
        dqkv[k] += ds * qkv_[q];
      }
    }
  }

  AttentionShape shape;
  std::vector<double> out, lse, dqkv;

 private:
  std::vector<double> qkv_;
};

struct Results {
  Tensor out, lse, dqkv;
};

Results run(const Stream& stream, const Case& c, const Tensor& qkv, const Tensor& dout) {
  const auto& s = c.shape;
  Results result{poisoned({s.batch, s.sequence, s.heads * s.head_dim}, c.dtype),
                 poisoned({s.batch, s.heads, s.sequence}, accumulation_dtype(c.dtype)),
                 poisoned({s.batch, s.sequence, s.qkv_columns()}, c.dtype)};
  attention_forward(stream, s, qkv, result.out, result.lse);
  attention_backward(stream, s, qkv, result.out, result.lse, dout, result.dqkv);
  return result;
}

class AttentionTest : public ::testing::TestWithParam<Case> {
 protected:
  const AttentionShape& shape() const { return GetParam().shape; }
  Tensor random_qkv() const {
    return random_tensor({shape().batch, shape().sequence, shape().qkv_columns()}, GetParam().dtype, 1);
  }
  Tensor random_dout() const {
    return random_tensor({shape().batch, shape().sequence, shape().heads * shape().head_dim}, GetParam().dtype, 2);
  }
};

TEST_P(AttentionTest, MatchesTheDefinition) {
  const Tensor qkv = random_qkv();
  const Tensor dout = random_dout();
  const Results found = run(Stream::cpu(2), GetParam(), qkv, dout);
  Reference reference(shape(), values(qkv));
  reference.backward(values(dout));
  const double allowed = tolerance(GetParam().dtype);
  expect_close(found.out, reference.out, allowed);
  expect_close(found.lse, reference.lse, tolerance(accumulation_dtype(GetParam().dtype)));
  // bf16: delta is taken from the rounded output, so gradients carry its error times the upstream gradient.
  expect_close(found.dqkv, reference.dqkv, 3 * allowed, std::sqrt(static_cast<double>(shape().head_dim)));
}

TEST_P(AttentionTest, BitsDoNotDependOnTheThreads) {
  const Tensor qkv = random_qkv();
  const Tensor dout = random_dout();
  const Results first = run(Stream::cpu(1), GetParam(), qkv, dout);
  for (const int threads : {1, 2, 3, 5}) {
    const Results now = run(Stream::cpu(threads), GetParam(), qkv, dout);
    EXPECT_TRUE(same_bits(now.out, first.out)) << threads;
    EXPECT_TRUE(same_bits(now.lse, first.lse)) << threads;
    EXPECT_TRUE(same_bits(now.dqkv, first.dqkv)) << threads;
  }
}

TEST_P(AttentionTest, CachedPositionsSeeTheirPast) {
  const Tensor qkv = random_qkv();
  const AttentionShape& s = shape();
  const Reference reference(s, values(qkv));
  const int64_t columns = s.kv_heads * s.head_dim;
  const int64_t capacity = s.sequence + 3;
  Tensor keys = poisoned({s.batch, capacity, columns}, qkv.dtype());
  Tensor cached_values = poisoned({s.batch, capacity, columns}, qkv.dtype());
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t t = 0; t < s.sequence; ++t) {
      for (int64_t i = 0; i < columns; ++i) {
        const int64_t row = (b * s.sequence + t) * s.qkv_columns() + s.heads * s.head_dim;
        set(keys, (b * capacity + t) * columns + i, get(qkv, row + i));
        set(cached_values, (b * capacity + t) * columns + i, get(qkv, row + columns + i));
      }
    }
  }
  for (const int64_t first : {int64_t{0}, s.sequence / 3, s.sequence - 1}) {
    AttentionShape fresh = s;
    fresh.sequence = s.sequence - first;
    Tensor rows = poisoned({s.batch, fresh.sequence, s.qkv_columns()}, qkv.dtype());
    std::vector<double> expected;
    for (int64_t b = 0; b < s.batch; ++b) {
      for (int64_t t = first; t < s.sequence; ++t) {
        for (int64_t i = 0; i < s.heads * s.head_dim; ++i) {  // keys and values of the rows stay poisoned: unread
          set(rows, (b * fresh.sequence + t - first) * s.qkv_columns() + i,
              get(qkv, (b * s.sequence + t) * s.qkv_columns() + i));
          expected.push_back(reference.out[reference.out_place(b, t, 0) + static_cast<size_t>(i)]);
        }
      }
    }
    Tensor out = poisoned({s.batch, fresh.sequence, s.heads * s.head_dim}, qkv.dtype());
    attention_cached(Stream::cpu(2), fresh, first, rows, keys, cached_values, out);
    expect_close(out, expected, tolerance(qkv.dtype()));
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const DType dtype : {DType::fp64, DType::fp32, DType::bf16}) {
    for (const AttentionShape& shape : std::initializer_list<AttentionShape>{{1, 1, 1, 1, 4},
                                                                             {2, 7, 3, 1, 5},
                                                                             {1, 64, 2, 2, 16},
                                                                             {3, 65, 4, 2, 8},
                                                                             {1, 300, 2, 1, 20},
                                                                             {1, 33, 1, 1, 256},
                                                                             {1, 577, 2, 1, 12}}) {
      all.push_back({dtype, shape});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTest, ::testing::ValuesIn(cases()));

TEST(Attention, GradientIsTheSlopeOfTheLoss) {
  const AttentionShape shape{1, 9, 4, 2, 6};
  const Case c{DType::fp64, shape};
  const Stream stream = Stream::cpu(1);
  Tensor qkv = random_tensor({1, 9, shape.qkv_columns()}, DType::fp64, 1);
  const Tensor dout = random_tensor({1, 9, 24}, DType::fp64, 2);
  const auto loss = [&] {
    const Results result = run(stream, c, qkv, dout);
    double sum = 0;
    for (int64_t i = 0; i < dout.elements(); ++i) sum += get(dout, i) * get(result.out, i);
    return sum;
  };
  const Results result = run(stream, c, qkv, dout);
  constexpr double kStep = 1e-5;
  for (int64_t i = 0; i < qkv.elements(); ++i) {
    const double middle = get(qkv, i);
    set(qkv, i, middle + kStep);
    const double above = loss();
    set(qkv, i, middle - kStep);
    const double below = loss();
    set(qkv, i, middle);
    ASSERT_NEAR(get(result.dqkv, i), (above - below) / (2 * kStep), 1e-8) << i;
  }
}

TEST(Attention, LargeScoresDoNotOverflow) {
  const AttentionShape shape{1, 70, 1, 1, 8};
  Tensor qkv = random_tensor({1, 70, 24}, DType::fp32, 1);
  for (int64_t i = 0; i < qkv.elements(); ++i) set(qkv, i, 100.0 * get(qkv, i));
  const Tensor dout = random_tensor({1, 70, 8}, DType::fp32, 2);
  const Results result = run(Stream::cpu(1), {DType::fp32, shape}, qkv, dout);
  for (const Tensor& tensor : {result.out, result.lse, result.dqkv}) {
    for (const double value : values(tensor)) ASSERT_TRUE(std::isfinite(value));
  }
}

TEST(Attention, NanInOnePositionReachesItAndItsFutureOnly) {
  const AttentionShape shape{1, 80, 1, 1, 4};
  Tensor qkv = random_tensor({1, 80, 12}, DType::fp32, 1);
  set(qkv, 70 * 12 + 4, std::nan(""));  // a key
  Tensor out = poisoned({1, 80, 4}, DType::fp32);
  Tensor lse = poisoned({1, 1, 80}, DType::fp32);
  attention_forward(Stream::cpu(1), shape, qkv, out, lse);
  for (int64_t t = 0; t < 80; ++t) EXPECT_EQ(std::isnan(get(out, t * 4)), t >= 70) << t;
}

TEST(Attention, ADryRunRecordsItsProducts) {
  const auto recorder = std::make_shared<GemmRecorder>();
  const Stream dry = Stream::meta();
  dry.attach(recorder);
  HeapAllocator meta(Device::meta());
  const AttentionShape shape{2, 64, 2, 2, 16};
  const Tensor qkv = meta.allocate({2, 64, 96}, DType::fp32);
  Tensor out = meta.allocate({2, 64, 32}, DType::fp32);
  Tensor lse = meta.allocate({2, 2, 64}, DType::fp32);
  Tensor dqkv = meta.allocate({2, 64, 96}, DType::fp32);
  attention_forward(dry, shape, qkv, out, lse);
  EXPECT_TRUE(recorder->products().contains({GemmForm::nt, 64, 64, 16, DType::fp32}));
  EXPECT_FALSE(recorder->products().contains({GemmForm::tn, 64, 16, 64, DType::fp32}));
  attention_backward(dry, shape, qkv, out, lse, out, dqkv);
  EXPECT_TRUE(recorder->products().contains({GemmForm::tn, 64, 16, 64, DType::fp32}));
}

TEST(Attention, EveryLibraryMayServe) {
  const Case c{DType::fp32, {1, 200, 2, 2, 64}};
  const Tensor qkv = random_tensor({1, 200, 384}, DType::fp32, 1);
  const Tensor dout = random_tensor({1, 200, 128}, DType::fp32, 2);
  Reference reference(c.shape, values(qkv));
  reference.backward(values(dout));
  for (const char* library : {"openblas", "blis", "onednn"}) {
    GemmChoices choices;
    for (const int64_t rows : {8, 64}) {
      for (const int64_t keys : {64, 128, 192, 200}) {
        choices.set({GemmForm::nt, rows, keys, 64, DType::fp32}, library);
        choices.set({GemmForm::nn, rows, 64, keys, DType::fp32}, library);
        choices.set({GemmForm::tn, keys, 64, rows, DType::fp32}, library);
      }
    }
    const Stream stream = Stream::cpu(2);
    stream.attach(std::make_shared<GemmState>(choices));
    const Results result = run(stream, c, qkv, dout);
    expect_close(result.out, reference.out, 1e-5);
    expect_close(result.dqkv, reference.dqkv, 3e-5, 8.0);
  }
}

TEST(Attention, WrongShapesAreRefused) {
  const Stream stream = Stream::cpu(1);
  const Tensor qkv = random_tensor({1, 4, 48}, DType::fp32, 1);
  Tensor out = poisoned({1, 4, 16}, DType::fp32);
  Tensor lse = poisoned({1, 2, 4}, DType::fp32);
  EXPECT_THROW(attention_forward(stream, {1, 4, 3, 2, 8}, qkv, out, lse), Error);
  EXPECT_THROW(attention_forward(stream, {1, 5, 2, 2, 8}, qkv, out, lse), Error);
  const Tensor cache = random_tensor({1, 6, 16}, DType::fp32, 1);
  EXPECT_THROW(attention_cached(stream, {1, 4, 2, 2, 8}, 3, qkv, cache, cache, out), Error);
}

}  // namespace
}  // namespace trident
