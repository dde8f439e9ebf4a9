#include "core/parameter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

namespace trident {
namespace {

Parameter make(const std::string& name, Shape shape, Initializer initializer) {
  Parameter parameter;
  parameter.name = name;
  parameter.global_shape = shape;
  parameter.initializer = initializer;
  return parameter;
}

struct Model {
  ParameterGroup qkv{{make("q", {6, 5}, Initializer::normal(0.5)), make("k", {3, 5}, Initializer::normal(0.5)),
                      make("v", {3, 5}, Initializer::normal(0.5))}};
  ParameterGroup gain{{make("gain", {5}, Initializer::ones())}};
  std::vector<ParameterGroup*> groups{&qkv, &gain};
};

TEST(ParameterStorage, MembersOfAGroupAreOneMatrix) {
  Model model;
  ParameterStorage storage(model.groups, DType::fp32, Device::cpu());
  EXPECT_EQ(model.qkv.value.shape(), (Shape{12, 5}));
  EXPECT_EQ(model.qkv.members[1].value.raw(), model.qkv.value.slice(6, 3).raw());
  EXPECT_EQ(model.gain.members[0].flat_offset % 64, 0);
  EXPECT_EQ(storage.parameters().size(), 4u);
  EXPECT_TRUE(storage.find("q").decays());
  EXPECT_FALSE(storage.find("gain").decays());
  EXPECT_THROW((void)storage.find("nobody"), Error);
}

TEST(ParameterStorage, InitialValuesDependOnSeedAndNameNotOnThreadsOrDtype) {
  Model one, two, wide, narrow;
  ParameterStorage a(one.groups, DType::fp32, Device::cpu()), b(two.groups, DType::fp32, Device::cpu());
  ParameterStorage c(wide.groups, DType::fp64, Device::cpu()), d(narrow.groups, DType::bf16, Device::cpu());
  a.initialize(11, Stream::cpu(1));
  b.initialize(11, Stream::cpu(3));
  c.initialize(11, Stream::cpu(2));
  d.initialize(11, Stream::cpu(2));
  EXPECT_EQ(std::memcmp(a.values().raw(), b.values().raw(), a.values().bytes()), 0);
  EXPECT_EQ(std::memcmp(a.values().raw(), d.master().raw(), a.values().bytes()), 0);
  for (int64_t i = 0; i < a.values().elements(); ++i) {
    EXPECT_EQ(c.values().data<double>()[i], static_cast<double>(a.values().data<float>()[i]));
    EXPECT_EQ(d.values().data<bfloat16>()[i].bits, bfloat16(a.values().data<float>()[i]).bits);
  }
  EXPECT_EQ(one.gain.value.data<float>()[4], 1.0f);
  a.initialize(12, Stream::cpu(1));
  EXPECT_NE(std::memcmp(a.values().raw(), b.values().raw(), a.values().bytes()), 0);
}

TEST(ParameterStorage, GradientsAreZeroedToTheLastElement) {
  Model model;
  ParameterStorage storage(model.groups, DType::fp32, Device::cpu());
  std::fill_n(storage.grads().data<float>(), storage.grads().elements(), 1.0f);
  storage.zero_gradients(Stream::cpu(2));
  for (int64_t i = 0; i < storage.grads().elements(); ++i) EXPECT_EQ(storage.grads().data<float>()[i], 0.0f);
}

}  // namespace
}  // namespace trident
