#include "kernels/embedding.h"

#include <gtest/gtest.h>

#include "tests/kernels/tensors.h"

namespace trident {
namespace {

using namespace testing;

constexpr int64_t kVocabulary = 11, kPositions = 70, kFirst = 4;

TEST(Embedding, MatchesTheReference) {
  const Stream stream = Stream::cpu(2);
  for (const DType dtype : kFloats) {
    for (const int64_t sequence : {1, 2, 65}) {
      for (const int64_t hidden : kColumns) {
        const Tensor tokens = random_indices({2, sequence}, 0, kVocabulary, 1);
        const Tensor table = random({kVocabulary, hidden}, dtype, 2),
                     positions = random({kPositions, hidden}, dtype, 3);
        Tensor y = poisoned({2, sequence, hidden}, dtype), plain = copy(y);
        Tensor expected = copy(y), expected_plain = copy(y);
        for (int64_t i = 0; i < y.elements(); ++i) {
          const int64_t row = i / hidden, j = i % hidden;
          const double entry = element(table, static_cast<int64_t>(element(tokens, row)) * hidden + j);
          set_element(expected_plain, i, entry);
          set_element(expected, i, entry + element(positions, (kFirst + row % sequence) * hidden + j));
        }
        embedding_forward(stream, tokens, table, positions, kFirst, y);
        embedding_forward(stream, tokens, table, {}, 0, plain);
        EXPECT_TRUE(same_bits(y, expected));
        EXPECT_TRUE(same_bits(plain, expected_plain));
      }
    }
  }
}

TEST(Embedding, BackwardAddsInTokenOrder) {
  const Stream stream = Stream::cpu(2);
  for (const DType dtype : kFloats) {
    for (const int64_t hidden : kColumns) {
      const DType wide = accumulation_dtype(dtype);
      const Tensor tokens = random_indices({3, 40}, 0, kVocabulary, 1), dy = random({3, 40, hidden}, dtype, 2);
      Tensor dtable = random({kVocabulary, hidden}, wide, 3), dpositions = random({kPositions, hidden}, wide, 4);
      Tensor expected = copy(dtable), expected_positions = copy(dpositions), alone = copy(dtable), none;
      for (int64_t i = 0; i < dy.elements(); ++i) {
        const int64_t row = i / hidden, j = i % hidden;
        const int64_t at = static_cast<int64_t>(element(tokens, row)) * hidden + j;
        const int64_t position = row % 40 * hidden + j;
        set_element(expected, at, element(expected, at) + element(dy, i));
        set_element(expected_positions, position, element(expected_positions, position) + element(dy, i));
      }
      embedding_backward(stream, tokens, dy, dtable, dpositions);
      embedding_backward(stream, tokens, dy, alone, none);
      EXPECT_TRUE(same_bits(dtable, expected));
      EXPECT_TRUE(same_bits(dpositions, expected_positions));
      EXPECT_TRUE(same_bits(alone, expected));
    }
  }
}

TEST(Embedding, TokensOutsideTheTableAreRefused) {
  const Stream stream = Stream::cpu(2);
  const Tensor table = random({kVocabulary, 5}, DType::fp32, 1);
  for (const double bad : {-1.0, 11.0, 2147483647.0, -2147483648.0}) {
    const Tensor tokens = tensor_of({1, 3}, DType::int32, {0, 10, bad});
    Tensor y = random({1, 3, 5}, DType::fp32, 2), dtable = copy(table), none;
    try {
      embedding_forward(stream, tokens, table, {}, 0, y);
      FAIL() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_data);
      EXPECT_NE(error.problem().find("row 2"), std::string::npos) << error.what();
    }
    EXPECT_THROW(embedding_backward(stream, tokens, y, dtable, none), Error);
    EXPECT_TRUE(same_bits(dtable, table));
  }
}

TEST(Embedding, PositionsBeyondTheTableAreRefused) {
  const Tensor tokens = random_indices({1, 9}, 0, kVocabulary, 1), table = random({kVocabulary, 5}, DType::fp32, 1);
  Tensor y = poisoned({1, 9, 5}, DType::fp32);
  const Tensor positions = random({10, 5}, DType::fp32, 1);
  embedding_forward(Stream::cpu(1), tokens, table, positions, 1, y);
  EXPECT_THROW(embedding_forward(Stream::cpu(1), tokens, table, positions, 2, y), Error);
  EXPECT_THROW(embedding_forward(Stream::cpu(1), tokens, table, positions, -1, y), Error);
}

TEST(Embedding, ThreadsDoNotChangeBits) {
  const Tensor tokens = random_indices({4, 100}, 0, kVocabulary, 1), dy = random({4, 100, 1000}, DType::fp32, 2);
  expect_same_for_any_threads([&](const Stream& stream) {
    Tensor dtable = filled({kVocabulary, 1000}, DType::fp32, 0), dpositions = filled({100, 1000}, DType::fp32, 0);
    embedding_backward(stream, tokens, dy, dtable, dpositions);
    return std::vector<Tensor>{dtable, dpositions};
  });
}

TEST(Embedding, MetaDoesNothing) {
  HeapAllocator meta(Device::meta());
  const Tensor tokens = meta.allocate({1 << 10, 1 << 12}, DType::int32), table = meta.allocate({99, 64}, DType::fp32);
  Tensor y = meta.allocate({1 << 10, 1 << 12, 64}, DType::fp32), dtable = table, none;
  embedding_forward(Stream::meta(), tokens, table, {}, 0, y);
  embedding_backward(Stream::meta(), tokens, y, dtable, none);
}

TEST(Embedding, ShardsOfTheTableAddUpToTheWhole) {
  const Stream stream = Stream::cpu(2);
  const int64_t hidden = 17, cut = 4;
  const Tensor tokens = random_indices({2, 9}, 0, kVocabulary, 1),
               table = random({kVocabulary, hidden}, DType::fp32, 2);
  const Tensor positions = random({kPositions, hidden}, DType::fp32, 3), dy = random({2, 9, hidden}, DType::fp32, 4);
  Tensor whole = poisoned({2, 9, hidden}, DType::fp32), low = copy(whole), high = copy(whole);
  embedding_forward(stream, tokens, table, positions, 0, whole);
  embedding_forward(stream, tokens, table.slice(0, cut), positions, 0, low, {0, kVocabulary});
  embedding_forward(stream, tokens, table.slice(cut, kVocabulary - cut), {}, 0, high, {cut, kVocabulary});
  for (int64_t i = 0; i < whole.elements(); ++i)
    EXPECT_NEAR(element(low, i) + element(high, i), element(whole, i), 1e-6);

  Tensor dtable = filled({kVocabulary, hidden}, DType::fp32, 0), parts = copy(dtable), none;
  Tensor dlow = parts.slice(0, cut), dhigh = parts.slice(cut, kVocabulary - cut);
  embedding_backward(stream, tokens, dy, dtable, none);
  embedding_backward(stream, tokens, dy, dlow, none, {0, kVocabulary});
  embedding_backward(stream, tokens, dy, dhigh, none, {cut, kVocabulary});
  EXPECT_TRUE(same_bits(dtable, parts));
}

}  // namespace
}  // namespace trident
