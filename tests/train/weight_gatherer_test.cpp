#include "train/weight_gatherer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "parallel/comm/threads/thread_ranks.h"
#include "tests/train/mesh_rank.h"
#include "train/weights.h"

namespace trident {
namespace {

using namespace testing;
using ::testing::HasSubstr;

int ranks_of(const MeshShape& shape) { return static_cast<int>(shape.ranks()); }

class AnyVariant : public ::testing::TestWithParam<std::tuple<Family, DType, ZeroStage>> {
 protected:
  static Variant variant() {
    const auto [family, compute, zero] = GetParam();
    return {config_of(family), compute, zero};
  }
};

TEST_P(AnyVariant, RankZeroGathersTheWholeModelBitForBit) {
  const Variant variant = AnyVariant::variant();
  const Model expected = whole_model(variant);
  for (const MeshShape& shape : kMeshes) {
    SCOPED_TRACE(shape.to_string());
    run_ranks(ranks_of(shape), [&](const Communicator& world) {
      const MeshRank rank(world, shape, variant);
      WeightGatherer gatherer(world, Stream::cpu(1), rank.optimizer->pieces());
      std::optional<Model> whole;
      if (world.rank() == 0) whole.emplace(variant.config, variant.compute, Recompute::none, Stream::cpu(1));
      gather_weights(gatherer, whole ? &whole->storage() : nullptr, Stream::cpu(1));
      if (!whole) return;
      EXPECT_EQ(bytes_of(whole->storage().master()), bytes_of(expected.storage().master()));
      EXPECT_EQ(bytes_of(whole->storage().values()), bytes_of(expected.storage().values()));
    });
  }
}

TEST_P(AnyVariant, AnyRowsAsFloats) {
  const Variant variant = AnyVariant::variant();
  const MeshShape shape{2, 2, 2};
  run_ranks(ranks_of(shape), [&](const Communicator& world) {
    const MeshRank rank(world, shape, variant);
    WeightGatherer gatherer(world, Stream::cpu(1), rank.optimizer->pieces());
    gatherer.run([&] {
      for (const Parameter& parameter : describe_parameters(variant.config)) {
        const int64_t height = parameter.global_shape[0], columns = parameter.global_shape.elements() / height;
        for (int64_t row0 = 0; row0 < height; row0 += 5) {
          const int64_t rows = std::min<int64_t>(7, height - row0);
          std::vector<float> out(static_cast<size_t>(rows * columns), 2.0F);
          gatherer.read(parameter.name, row0, rows, std::span(out));
          for (int64_t i = 0; i < rows * columns; ++i) {
            const auto value = static_cast<float>(made_up(parameter.name, row0 * columns + i));
            ASSERT_EQ(std::memcmp(&out[static_cast<size_t>(i)], &value, sizeof value), 0) << parameter.name;
          }
        }
      }
    });
  });
}

std::string name_of_variant(const ::testing::TestParamInfo<AnyVariant::ParamType>& info) {
  const auto [family, compute, zero] = info.param;
  return name_of(family) + "_" + std::string(to_string(compute)) + "_zero" + std::to_string(static_cast<int>(zero));
}

INSTANTIATE_TEST_SUITE_P(Variants, AnyVariant,
                         ::testing::Combine(::testing::ValuesIn(kFamilies),
                                            ::testing::Values(DType::fp32, DType::bf16, DType::fp64),
                                            ::testing::Values(ZeroStage::replicated, ZeroStage::optimizer_state)),
                         name_of_variant);

// A tensor of more elements than are in flight at once.
TEST(WeightGatherer, LargeTensorsComeInBands) {
  Variant variant{config_of(Family::llama_gqa), DType::fp32, ZeroStage::optimizer_state};
  variant.config.vocab_size = WeightGatherer::kElementsAtOnce / variant.config.hidden_size * 2 + 5;
  const Shape table{variant.config.vocab_size, variant.config.hidden_size};
  run_ranks(2, [&](const Communicator& world) {
    const MeshRank rank(world, {1, 2, 1}, variant);
    WeightGatherer gatherer(world, Stream::cpu(1), rank.optimizer->pieces());
    gatherer.run([&] {
      std::vector<double> out(static_cast<size_t>(table.elements()));
      gatherer.read("head.weight", 0, table[0], std::span(out));
      for (int64_t i = 0; i < table.elements(); ++i) {
        const auto value = static_cast<float>(made_up("head.weight", i));
        ASSERT_EQ(out[static_cast<size_t>(i)], value) << i;
      }
    });
  });
}

TEST(WeightGatherer, ComputeWeightsAloneWhereTheMasterIsReleased) {
  const Variant variant{config_of(Family::gpt2_tied), DType::bf16, ZeroStage::optimizer_state};
  const Model expected = whole_model(variant);
  run_ranks(4, [&](const Communicator& world) {
    const MeshRank rank(world, {2, 2, 1}, variant);
    WeightGatherer gatherer(world, Stream::cpu(1), rank.optimizer->pieces());
    Model whole(variant.config, variant.compute, Recompute::none, Stream::cpu(1));
    whole.storage().release_master();
    gather_weights(gatherer, world.rank() == 0 ? &whole.storage() : nullptr, Stream::cpu(1));
    if (world.rank() == 0) {
      EXPECT_EQ(bytes_of(whole.storage().values()), bytes_of(expected.storage().values()));
    }
  });
}

// Here a rank of the head, with other cuts between its pieces, comes before some of the embedding's.
TEST(WeightGatherer, CopiesOfATiedEmbeddingAreLeftOut) {
  Variant variant{config_of(Family::llama_tied), DType::bf16, ZeroStage::optimizer_state};
  variant.config.vocab_size = 301;
  const Model expected = whole_model(variant);
  run_ranks(8, [&](const Communicator& world) {
    const MeshRank rank(world, {2, 2, 2}, variant, {Axis::pp, Axis::tp, Axis::dp});
    const auto pieces = rank.optimizer->pieces();
    for (const OwnedPiece& piece : pieces)
      if (piece.parameter->tied_copy) std::fill_n(piece.master.data<float>(), piece.count, 9.0F);
    WeightGatherer gatherer(world, Stream::cpu(1), pieces);
    Model whole(variant.config, variant.compute, Recompute::none, Stream::cpu(1));
    gather_weights(gatherer, world.rank() == 0 ? &whole.storage() : nullptr, Stream::cpu(1));
    if (world.rank() == 0) {
      EXPECT_EQ(bytes_of(whole.storage().master()), bytes_of(expected.storage().master()));
    }
  });
}

/// Runs `work` on four ranks, which must all throw; the errors' texts, by rank.
template <class Work>
std::vector<std::string> all_fail(const Work& work, ErrorCode code) {
  std::vector<std::string> texts(4);
  run_ranks(4, [&](const Communicator& world) {
    const Variant variant{config_of(Family::llama_tied), DType::bf16, ZeroStage::optimizer_state};
    const MeshRank rank(world, {2, 1, 2}, variant);
    try {
      work(world, rank.optimizer->pieces());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      texts[static_cast<size_t>(world.rank())] = error.what();
    }
    world.barrier();  // and they can still talk
  });
  return texts;
}

TEST(WeightGatherer, AFailureOnRankZeroEndsEveryRank) {
  const auto texts = all_fail(
      [](const Communicator& world, std::vector<OwnedPiece> pieces) {
        WeightGatherer gatherer(world, Stream::cpu(1), std::move(pieces));
        gatherer.run([&] {
          std::vector<float> row(24);
          gatherer.read("embedding.weight", 36, 1, std::span(row));
          throw Error(ErrorCode::io, "disk", "no space left", "make some");
        });
        ADD_FAILURE() << "rank " << world.rank() << " learnt nothing";
      },
      ErrorCode::io);
  EXPECT_THAT(texts, ::testing::Each(HasSubstr("no space left")));
  for (size_t rank = 1; rank < 4; ++rank) EXPECT_THAT(texts[rank], HasSubstr("on rank 0")) << rank;
}

TEST(WeightGatherer, AStandardExceptionToo) {
  const auto texts = all_fail(
      [](const Communicator& world, std::vector<OwnedPiece> pieces) {
        WeightGatherer gatherer(world, Stream::cpu(1), std::move(pieces));
        try {
          gatherer.run([] { throw std::length_error("too long"); });
          ADD_FAILURE() << "rank " << world.rank() << " learnt nothing";
        } catch (const std::length_error& error) {
          EXPECT_EQ(world.rank(), 0);
          throw Error(ErrorCode::internal, "test", error.what());
        }
      },
      ErrorCode::internal);
  EXPECT_THAT(texts, ::testing::Each(HasSubstr("too long")));
}

TEST(WeightGatherer, AMissingPieceIsNamedOnEveryRank) {
  const auto texts = all_fail(
      [](const Communicator& world, std::vector<OwnedPiece> pieces) {
        const auto alone = [](const OwnedPiece& p) { return p.parameter->sharded() && !p.parameter->tied_copy; };
        if (world.rank() == 3) pieces.erase(std::find_if(pieces.begin(), pieces.end(), alone));
        const WeightGatherer gatherer(world, Stream::cpu(1), std::move(pieces));
      },
      ErrorCode::internal);
  EXPECT_THAT(texts, ::testing::Each(HasSubstr("no rank holds element")));
}

TEST(WeightGatherer, UnknownNamesAndReadsOutsideRunAreRefused) {
  const auto texts = all_fail(
      [](const Communicator& world, std::vector<OwnedPiece> pieces) {
        WeightGatherer gatherer(world, Stream::cpu(1), std::move(pieces));
        std::vector<float> row(24);
        EXPECT_THROW(gatherer.read("embedding.weight", 0, 1, std::span(row)), Error);
        gatherer.run([&] { gatherer.read("head.weight", 0, 1, std::span(row)); });
      },
      ErrorCode::internal);
  EXPECT_THAT(texts, ::testing::Each(HasSubstr("no rank holds head.weight")));
}

}  // namespace
}  // namespace trident
