#include "train/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <map>

#include "checkpoint/huggingface.h"
#include "parallel/comm/threads/thread_ranks.h"
#include "tests/scratch_dir.h"
#include "tests/train/mesh_rank.h"

namespace trident {
namespace {

namespace fs = std::filesystem;
using namespace testing;
using test::read_file;
using test::ScratchDir;
using test::write_file;
using ::testing::HasSubstr;

/// Rank 0 writes a Hugging Face directory of the weights that all ranks hold.
void export_from(WeightGatherer& gatherer, const ModelConfig& config, const fs::path& folder) {
  gatherer.run([&] {
    const TensorSource source = [&](const std::string& name, int64_t row0, int64_t rows, std::span<float> out) {
      gatherer.read(name, row0, rows, out);
    };
    export_huggingface(folder, config, source);
  });
}

/// Every rank of the mesh takes part in writing it; the folder.
fs::path write_from(const MeshShape& shape, const Variant& variant, const fs::path& folder) {
  run_ranks(static_cast<int>(shape.ranks()), [&](const Communicator& world) {
    const MeshRank rank(world, shape, variant);
    WeightGatherer gatherer(world, Stream::cpu(1), rank.optimizer->pieces());
    export_from(gatherer, variant.config, folder);
  });
  return folder;
}

std::map<std::string, std::string> files_in(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder))
    files[entry.path().filename().string()] = read_file(entry.path());
  return files;
}

class AnyModel : public ::testing::TestWithParam<std::tuple<Family, DType>> {
 protected:
  static Variant variant(ZeroStage zero = ZeroStage::optimizer_state) {
    const auto [family, compute] = GetParam();
    return {config_of(family), compute, zero};
  }
};

TEST_P(AnyModel, ManyRanksWriteTheFilesOfOne) {
  const ScratchDir scratch;
  const auto expected = files_in(write_from({1, 1, 1}, variant(), scratch / "one"));
  EXPECT_TRUE(expected.contains("model.safetensors"));
  // The single rank's are the logical tensors themselves.
  const HuggingFaceReader reader(scratch / "one");
  for (const HuggingFaceTensor& tensor : reader.tensors()) {
    std::vector<float> values(static_cast<size_t>(tensor.shape[0] * tensor.row_size()));
    reader.read(tensor.name, 0, tensor.shape[0], std::span(values));
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(values[i], static_cast<float>(made_up(tensor.name, static_cast<int64_t>(i)))) << tensor.name;
  }
  int number = 0;
  for (const MeshShape& shape : {MeshShape{2, 2, 2}, MeshShape{1, 4, 2}, MeshShape{1, 8, 1}, MeshShape{4, 1, 2}}) {
    for (const ZeroStage zero : {ZeroStage::replicated, ZeroStage::optimizer_state}) {
      SCOPED_TRACE(shape.to_string());
      const fs::path folder = scratch / ("many" + std::to_string(number++));
      EXPECT_EQ(files_in(write_from(shape, variant(zero), folder)), expected);
    }
  }
}

TEST_P(AnyModel, EveryRankLoadsItsPart) {
  const ScratchDir scratch;
  const fs::path folder = write_from({2, 2, 2}, variant(), scratch / "run");
  const auto check = [](const Parameter& parameter, const auto* loaded) {
    for (int64_t i = 0; i < parameter.local_shape().elements(); ++i) {
      const auto wanted = static_cast<float>(made_up(parameter.name, global_index(parameter, i)));
      ASSERT_EQ(static_cast<float>(loaded[i]), wanted) << parameter.name << " element " << i;
      ASSERT_EQ(std::signbit(static_cast<float>(loaded[i])), std::signbit(wanted)) << parameter.name;
    }
  };
  for (const MeshShape& shape : kMeshes) {
    SCOPED_TRACE(shape.to_string());
    run_ranks(static_cast<int>(shape.ranks()), [&](const Communicator& world) {
      const DeviceMesh mesh(world, shape);
      Model model = part_of_model(mesh, variant());
      ParameterStorage& storage = model.storage();
      load_weights(ModelWeights(folder), storage, Stream::cpu(1));
      for (const Parameter* parameter : storage.parameters()) {
        const Tensor master = storage.master_of(*parameter);
        if (master.dtype() == DType::fp64)
          check(*parameter, master.data<double>());
        else
          check(*parameter, master.data<float>());
      }
      if (variant().compute != DType::bf16) return;
      for (int64_t i = 0; i < storage.master().elements(); ++i)
        ASSERT_EQ(storage.values().data<bfloat16>()[i].bits, bfloat16(storage.master().data<float>()[i]).bits);
    });
  }
}

TEST_P(AnyModel, ComputeWeightsAloneWhereTheMasterIsReleased) {
  const ScratchDir scratch;
  const fs::path folder = write_from({1, 1, 1}, variant(), scratch / "run");
  run_ranks(4, [&](const Communicator& world) {
    const DeviceMesh mesh(world, {1, 2, 2});
    Model model = part_of_model(mesh, variant()), released = part_of_model(mesh, variant());
    released.storage().release_master();
    load_weights(ModelWeights(folder), model.storage(), Stream::cpu(1));
    load_weights(ModelWeights(folder), released.storage(), Stream::cpu(1));
    EXPECT_TRUE(bytes_of(model.storage().values()) == bytes_of(released.storage().values()));
  });
}

INSTANTIATE_TEST_SUITE_P(Models, AnyModel,
                         ::testing::Combine(::testing::ValuesIn(kFamilies),
                                            ::testing::Values(DType::fp32, DType::bf16, DType::fp64)),
                         [](const auto& instance) {
                           return name_of(std::get<0>(instance.param)) + "_" +
                                  std::string(to_string(std::get<1>(instance.param)));
                         });

TEST(Weights, RowsOfColumnShardsAreReadInBands) {
  Variant variant{config_of(Family::llama_gqa), DType::fp32, ZeroStage::replicated};
  variant.config.num_hidden_layers = 1;
  variant.config.intermediate_size = 50000;  // 24 rows of it are more than one buffer
  const ScratchDir scratch;
  const fs::path folder = write_from({1, 1, 1}, variant, scratch / "run");
  run_ranks(2, [&](const Communicator& world) {
    const DeviceMesh mesh(world, {1, 2, 1});
    Model model = part_of_model(mesh, variant), expected = part_of_model(mesh, variant);
    load_weights(ModelWeights(folder), model.storage(), Stream::cpu(1));
    fill_made_up(expected.storage(), Stream::cpu(1));
    EXPECT_TRUE(bytes_of(model.storage().master()) == bytes_of(expected.storage().master()));
  });
}

TEST(Weights, WhereRankZeroCannotWriteEveryRankThrows) {
  const Variant variant{config_of(Family::llama_gqa), DType::bf16, ZeroStage::optimizer_state};
  const ScratchDir scratch;
  write_file(scratch / "taken", "a file where a folder should be");
  std::atomic<int> failed = 0;
  run_ranks(8, [&](const Communicator& world) {
    const MeshRank rank(world, {2, 2, 2}, variant);
    WeightGatherer gatherer(world, Stream::cpu(1), rank.optimizer->pieces());
    try {
      export_from(gatherer, variant.config, scratch / "taken" / "below");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::io);
      EXPECT_THAT(error.what(), HasSubstr("taken"));
      ++failed;
    }
    export_from(gatherer, variant.config, scratch / "free");
  });
  EXPECT_EQ(failed, 8);
  EXPECT_TRUE(fs::exists(scratch / "free" / "model.safetensors"));
}

TEST(Weights, AnotherModelIsRefusedWithBothValues) {
  const ModelConfig wanted = config_of(Family::llama_gqa);
  EXPECT_NO_THROW(require_same_model(wanted, wanted, "there"));
  ModelConfig found = wanted;
  found.hidden_size = 99;
  found.vocab_size = 98;
  try {
    require_same_model(found, wanted, "there");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::config);
    EXPECT_THAT(error.what(), HasSubstr("hidden_size: 99 there, 24 in the job"));
    EXPECT_THAT(error.what(), HasSubstr("vocab_size: 98 there, 37 in the job"));
  }
}

}  // namespace
}  // namespace trident
