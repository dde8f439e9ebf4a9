#include "kernels/cross_entropy.h"

#include <limits>
#include <random>

#include "core/error.h"
#include "tests/kernels/cuda/gpu.h"

namespace trident::testing {
namespace {

constexpr DType kFloats[] = {DType::fp64, DType::fp32, DType::bf16};
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Tensor random_logits(Shape shape, DType dtype, uint32_t seed, double scale = 8.0) {
  Tensor logits = random_tensor(shape, dtype, seed);
  for (int64_t i = 0; i < logits.elements(); ++i) set(logits, i, scale * get(logits, i));
  return logits;
}

Tensor labels_of(const std::vector<int32_t>& values) {
  Tensor labels = HeapAllocator().allocate({static_cast<int64_t>(values.size())}, DType::int32);
  for (size_t i = 0; i < values.size(); ++i) set(labels, static_cast<int64_t>(i), values[i]);
  return labels;
}

/// The first is −1 where there are more rows than one.
Tensor random_labels(int64_t rows, int64_t columns) {
  std::mt19937 generator(5);
  std::uniform_int_distribution<int64_t> uniform(-1, columns - 1);
  Tensor labels = HeapAllocator().allocate({rows}, DType::int32);
  for (int64_t i = 0; i < rows; ++i)
    set(labels, i, i == 0 && rows > 1 ? -1.0 : static_cast<double>(uniform(generator)));
  return labels;
}

struct Outputs {
  Tensor losses, lse;
};

// The whole forward pass, over the vocabulary in one part.
Outputs forward(const Stream& stream, const Tensor& logits, const Tensor& labels) {
  const DType wide = accumulation_dtype(logits.dtype());
  const auto output = [&](Shape shape) {
    Tensor tensor = allocate_zeroed(stream.device(), shape, wide);
    copy(stream, poisoned(shape, wide), tensor);
    if (stream.device().kind == DeviceKind::cuda) stream.synchronize();
    return tensor;
  };
  Outputs out{output({logits.rows()}), output({logits.rows()})};
  Tensor statistics = output({logits.rows(), 3});
  cross_entropy_statistics(stream, logits, labels, 0, statistics);
  cross_entropy_losses(stream, statistics, labels, logits.columns(), out.losses, out.lse);
  return out;
}

class CudaCrossEntropy : public GpuTest {
 protected:
  /// `gpu_logits` hold the values of `logits`; they become gradients.
  void expect_as_on_the_cpu(const Tensor& logits, Tensor gpu_logits, const Tensor& labels) const {
    const DType dtype = logits.dtype(), wide = accumulation_dtype(dtype);
    Tensor gradient = in_fp64(logits);
    const Outputs expected = forward(cpu, gradient, labels);
    cross_entropy_backward(cpu, labels, 0, expected.lse, 0.25, gradient);

    const Tensor gpu_labels = upload(labels);
    const Outputs found = forward(gpu, gpu_logits, gpu_labels);
    const Outputs again = forward(gpu, gpu_logits, gpu_labels);
    EXPECT_LE(relative_error(download(found.losses), expected.losses), allowed_error(wide));
    EXPECT_LE(relative_error(download(found.lse), expected.lse), allowed_error(wide));
    EXPECT_TRUE(same_bits(download(found.losses), download(again.losses)));
    EXPECT_TRUE(same_bits(download(found.lse), download(again.lse)));
    cross_entropy_backward(gpu, gpu_labels, 0, found.lse, 0.25, gpu_logits);
    EXPECT_LE(relative_error(download(gpu_logits), gradient), allowed_error(dtype));
  }
};

TEST_F(CudaCrossEntropy, IsNearTheCpus) {
  for (const DType dtype : kFloats) {
    for (const int64_t rows : {1, 9}) {
      for (const int64_t columns : {1, 3, 17, 255, 1000, 5001, 50257}) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " " + std::to_string(rows) + " x " + std::to_string(columns));
        const Tensor logits = random_logits({rows, columns}, dtype, 1);
        expect_as_on_the_cpu(logits, upload(logits), random_labels(rows, columns));
      }
    }
  }
}

// Rows start at every distance from a 16-byte boundary, and nothing beside them is written.
TEST_F(CudaCrossEntropy, RowsThatAreNotAligned) {
  for (const DType dtype : kFloats) {
    for (const int64_t columns : {2, 7, 40, 2049}) {
      const int64_t rows = 9, count = rows * columns;
      for (const int64_t offset : {1, 3}) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " " + std::to_string(columns) + " from " + std::to_string(offset));
        const Tensor storage = random_logits({offset + count + 8}, dtype, 1), gpu_storage = upload(storage);
        const Shape shape{rows, columns};
        expect_as_on_the_cpu(storage.flat_view(offset, shape), gpu_storage.flat_view(offset, shape),
                             random_labels(rows, columns));
        const Tensor after = download(gpu_storage);
        for (int64_t i = 0; i < offset; ++i) EXPECT_EQ(get(after, i), get(storage, i)) << i;
        for (int64_t i = offset + count; i < storage.elements(); ++i) EXPECT_EQ(get(after, i), get(storage, i)) << i;
      }
    }
  }
}

TEST_F(CudaCrossEntropy, LargeAndForbiddenLogits) {
  for (const DType dtype : {DType::fp64, DType::fp32}) {
    const Tensor large = random_logits({9, 5000}, dtype, 1, 1e3);
    expect_as_on_the_cpu(large, upload(large), random_labels(9, 5000));
  }
  for (const DType dtype : kFloats) {
    Tensor logits = random_logits({2, 20000}, dtype, 1);
    for (int64_t j = 0; j < 12000; ++j) set(logits, j, -kInfinity);
    for (int64_t j = 4000; j < 20000; ++j) set(logits, 20000 + j, -kInfinity);
    expect_as_on_the_cpu(logits, upload(logits), labels_of({18000, 3999}));
  }
}

TEST_F(CudaCrossEntropy, NanIsNotHidden) {
  for (const DType dtype : kFloats) {
    for (const int64_t at : {0, 700, 8190, 20002}) {
      for (const double others : {1.0, -kInfinity}) {
        Tensor logits = filled({1, 20003}, dtype, others);
        set(logits, at, std::nan(""));
        const Outputs found = forward(gpu, upload(logits), upload(labels_of({3})));
        EXPECT_TRUE(std::isnan(get(download(found.losses), 0))) << at;
      }
    }
  }
}

TEST_F(CudaCrossEntropy, LabelsOutsideTheVocabularyAreReported) {
  const Tensor logits = random_logits({3, 10}, DType::fp32, 1), gpu_logits = upload(logits);
  const Outputs expected = forward(cpu, logits, labels_of({1, 1, 2}));
  for (const int32_t bad : {-2, 10, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    const Outputs found = forward(gpu, gpu_logits, upload(labels_of({1, bad, 2})));
    try {
      gpu.synchronize();
      FAIL() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_data);
      EXPECT_NE(error.problem().find("label " + std::to_string(bad) + " at row 1 "), std::string::npos) << error.what();
      EXPECT_NE(error.problem().find("[-1, 10)"), std::string::npos) << error.what();
    }
    EXPECT_NO_THROW(gpu.synchronize());
    const Tensor losses = download(found.losses);
    EXPECT_EQ(get(losses, 1), 0.0);
    for (const int64_t row : {0, 2}) EXPECT_NEAR(get(losses, row), get(expected.losses, row), 1e-5);
  }
}

TEST_F(CudaCrossEntropy, PartsOfTheVocabularyGiveTheWholesLossesAndGradients) {
  for (const DType dtype : kFloats) {
    const DType wide = accumulation_dtype(dtype);
    const int64_t rows = 17, columns = 101, cut = 37;
    const Tensor labels = random_labels(rows, columns), logits = random_logits({rows, columns}, dtype, 1);
    Tensor gradient = in_fp64(logits);
    const Outputs expected = forward(cpu, gradient, labels);
    cross_entropy_backward(cpu, labels, 0, expected.lse, 0.5, gradient);

    const auto part_of = [&](const Tensor& whole, int64_t first, int64_t width) {
      Tensor part = HeapAllocator().allocate({rows, width}, whole.dtype());
      for (int64_t i = 0; i < part.elements(); ++i) set(part, i, get(whole, i / width * columns + first + i % width));
      return part;
    };
    const Tensor gpu_labels = upload(labels);
    Tensor left = upload(part_of(logits, 0, cut)), right = upload(part_of(logits, cut, columns - cut));
    Tensor statistics = poisoned_on_gpu({2, rows, 3}, wide);
    Tensor first = statistics.slice(0, 1).reshape({rows, 3}), second = statistics.slice(1, 1).reshape({rows, 3});
    Tensor losses = poisoned_on_gpu({rows}, wide), lse = poisoned_on_gpu({rows}, wide);
    cross_entropy_statistics(gpu, left, gpu_labels, 0, first);
    cross_entropy_statistics(gpu, right, gpu_labels, cut, second);
    cross_entropy_losses(gpu, statistics, gpu_labels, columns, losses, lse);
    EXPECT_LE(relative_error(download(losses), expected.losses), allowed_error(wide));
    EXPECT_LE(relative_error(download(lse), expected.lse), allowed_error(wide));
    cross_entropy_backward(gpu, gpu_labels, 0, lse, 0.5, left);
    cross_entropy_backward(gpu, gpu_labels, cut, lse, 0.5, right);
    EXPECT_LE(relative_error(download(left), part_of(gradient, 0, cut)), allowed_error(dtype));
    EXPECT_LE(relative_error(download(right), part_of(gradient, cut, columns - cut)), allowed_error(dtype));
  }
}

TEST_F(CudaCrossEntropy, SumsLosses) {
  for (const DType dtype : kFloats) {
    for (const int64_t count : {1, 7, 1000, 70001}) {
      const Tensor losses = random_logits({count}, dtype, 1), gpu_losses = upload(losses);
      Tensor expected = poisoned({1}, DType::fp64), sum = poisoned_on_gpu({1}, DType::fp64), again = upload(expected);
      sum_losses(cpu, losses, expected);
      sum_losses(gpu, gpu_losses, sum);
      sum_losses(gpu, gpu_losses, again);
      EXPECT_NEAR(get(download(sum), 0), get(expected, 0), 1e-13 * 8 * static_cast<double>(count));
      EXPECT_TRUE(same_bits(download(sum), download(again)));
    }
  }
}

}  // namespace
}  // namespace trident::testing
