#include "kernels/embedding.h"

#include "core/error.h"
#include "tests/kernels/cuda/gpu.h"

namespace trident::testing {
namespace {

using CudaEmbedding = GpuTest;

constexpr DType kFloats[] = {DType::fp64, DType::fp32, DType::bf16};
constexpr int64_t kColumns[] = {1, 7, 8, 66, 768};

/// Uniform integers in [0, size).
Tensor random_tokens(Shape shape, int64_t size, uint32_t seed) {
  Tensor tokens = HeapAllocator().allocate(shape, DType::int32);
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int64_t> uniform(0, size - 1);
  for (int64_t i = 0; i < tokens.elements(); ++i) set(tokens, i, static_cast<double>(uniform(generator)));
  return tokens;
}

TEST_F(CudaEmbedding, ForwardHasTheBitsOfTheCpu) {
  constexpr int64_t kVocabulary = 50;
  for (const DType dtype : kFloats) {
    for (const int64_t columns : kColumns) {
      const Tensor tokens = random_tokens({3, 21}, kVocabulary, 1), tokens_gpu = upload(tokens), none;
      const Tensor table = random_tensor({kVocabulary, columns}, dtype, 2);
      const Tensor positions = random_tensor({30, columns}, dtype, 3), positions_gpu = upload(positions);
      const auto check = [&](const Tensor& part, bool with_positions, TableShard shard) {
        Tensor expected = poisoned({3, 21, columns}, dtype), y = poisoned_on_gpu({3, 21, columns}, dtype);
        embedding_forward(cpu, tokens, part, with_positions ? positions : none, 5, expected, shard);
        embedding_forward(gpu, tokens_gpu, upload(part), with_positions ? positions_gpu : none, 5, y, shard);
        EXPECT_TRUE(same_bits(download(y), expected)) << to_string(dtype) << " " << columns;
      };
      for (const bool with_positions : {false, true}) {
        check(table, with_positions, {});
        check(table.slice(10, 23), with_positions, {10, kVocabulary});
      }
    }
  }
}

class CudaEmbeddingBackward : public GpuTest {
 protected:
  void check(const Tensor& tokens, const Tensor& dy, int64_t table_rows, TableShard shard) {
    const DType wide = accumulation_dtype(dy.dtype());
    const Tensor dtable = random_tensor({table_rows, dy.columns()}, wide, 5);
    const Tensor dpositions = random_tensor({tokens.columns() + 2, dy.columns()}, wide, 6);
    Tensor dtable_gpu = upload(dtable), dpositions_gpu = upload(dpositions), alone = upload(dtable), none;
    const Tensor tokens_gpu = upload(tokens), dy_gpu = upload(dy);
    embedding_backward(gpu, tokens_gpu, dy_gpu, dtable_gpu, dpositions_gpu, shard);
    embedding_backward(gpu, tokens_gpu, dy_gpu, alone, none, shard);
    Tensor expected = dtable, expected_positions = dpositions;  // uploaded already, so free to be overwritten
    embedding_backward(cpu, tokens, dy, expected, expected_positions, shard);
    EXPECT_TRUE(same_bits(download(dtable_gpu), expected)) << to_string(dy.dtype()) << " " << dy.columns();
    EXPECT_TRUE(same_bits(download(alone), expected)) << to_string(dy.dtype()) << " " << dy.columns();
    EXPECT_TRUE(same_bits(download(dpositions_gpu), expected_positions))
        << to_string(dy.dtype()) << " " << dy.columns();
  }
};

TEST_F(CudaEmbeddingBackward, HasTheBitsOfTheCpu) {
  for (const DType dtype : kFloats) {
    for (const int64_t columns : kColumns) {
      // Runs of one token, of a few, and of some hundreds.
      for (const int64_t vocabulary : {3, 40, 5000}) {
        const Tensor tokens = random_tokens({5, 121}, vocabulary, 1);
        const Tensor dy = random_tensor({5, 121, columns}, dtype, 2);
        check(tokens, dy, vocabulary, {});
        check(tokens, dy, vocabulary / 2, {vocabulary / 3, vocabulary});
      }
    }
  }
}

// Runs whose lengths are about those of the kernel's steps.
TEST_F(CudaEmbeddingBackward, RunsOfAnyLength) {
  std::vector<int32_t> list;
  for (int32_t length = 1; length <= 70; ++length) list.insert(list.end(), static_cast<size_t>(length), length);
  std::shuffle(list.begin(), list.end(), std::mt19937(1));
  const auto count = static_cast<int64_t>(list.size());
  const Tensor tokens = Tensor::borrow(list.data(), {1, count}, DType::int32);
  for (const DType dtype : kFloats) check(tokens, random_tensor({1, count, 40}, dtype, 2), 71, {});
}

TEST_F(CudaEmbedding, TokensOutsideTheVocabularyAreReported) {
  const Tensor table = random_tensor({11, 24}, DType::fp32, 1);
  for (const double bad : {-1.0, 11.0, 2147483647.0, -2147483648.0}) {
    Tensor tokens = random_tokens({1, 3}, 11, 1);
    set(tokens, 2, bad);
    const Tensor tokens_gpu = upload(tokens), table_gpu = upload(table);
    Tensor y = poisoned_on_gpu({1, 3, 24}, DType::fp32), dtable = upload(table), none;
    embedding_forward(gpu, tokens_gpu, table_gpu, {}, 0, y);
    try {
      gpu.synchronize();
      FAIL() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_data);
      EXPECT_NE(error.problem().find("row 2 is outside [0, 11)"), std::string::npos) << error.what();
    }
    const Tensor found = download(y);
    for (int64_t i = 2 * 24; i < found.elements(); ++i) EXPECT_EQ(get(found, i), 0.0);
    embedding_backward(gpu, tokens_gpu, y, dtable, none);
    EXPECT_THROW(gpu.synchronize(), Error);
    gpu.synchronize();  // reported once
  }
}

}  // namespace
}  // namespace trident::testing
