#include "core/tensor.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/allocator.h"

namespace trident {
namespace {

TEST(Tensor, ViewsShareTheMemory) {
  Tensor tensor = HeapAllocator().allocate({4, 6}, DType::fp32);
  for (int i = 0; i < 24; ++i) tensor.data<float>()[i] = static_cast<float>(i);
  const Tensor rows = tensor.slice(1, 2);
  EXPECT_EQ(rows.shape(), (Shape{2, 6}));
  EXPECT_EQ(rows.data<float>()[0], 6.0f);
  EXPECT_EQ(tensor.flat_view(5, {3}).data<float>()[0], 5.0f);
  EXPECT_EQ(tensor.reshape({2, 2, 6}).rows(), 4);
}

TEST(Tensor, ViewsOutsideAndWrongTypesAreRefused) {
  const Tensor tensor = HeapAllocator().allocate({4, 6}, DType::fp32);
  EXPECT_THROW((void)tensor.slice(3, 2), Error);
  EXPECT_THROW((void)tensor.flat_view(20, {5}), Error);
  EXPECT_THROW((void)tensor.reshape({5, 5}), Error);
  EXPECT_THROW((void)tensor.data<double>(), Error);
}

TEST(Tensor, TheLastViewReleasesTheBuffer) {
  int released = 0;
  std::vector<float> memory(8);
  Tensor view;
  {
    auto buffer = std::make_shared<Buffer>(memory.data(), 32, Device::cpu(), [&](void*) { ++released; });
    view = Tensor(buffer, 0, {8}, DType::fp32).slice(2, 3);
  }
  EXPECT_EQ(released, 0);
  view.reset();
  EXPECT_EQ(released, 1);
  EXPECT_FALSE(view.defined());
}

TEST(Tensor, MetaTensorsHaveShapesAndNoMemory) {
  const Tensor tensor = HeapAllocator(Device::meta()).allocate({1 << 20, 1 << 20}, DType::fp32);
  EXPECT_EQ(tensor.raw(), nullptr);
  EXPECT_EQ(tensor.slice(5, 7).raw(), nullptr);
  EXPECT_EQ(tensor.device(), Device::meta());
}

}  // namespace
}  // namespace trident
