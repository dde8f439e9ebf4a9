// Lets the suite run with an instruction set below the machine's best: TRIDENT_TEST_INSTRUCTION_SET=avx2 or portable.
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cstdlib>
#include <string_view>

namespace trident {
namespace {

class InstructionSet : public ::testing::Environment {
 public:
  void SetUp() override {
    const char* value = std::getenv("TRIDENT_TEST_INSTRUCTION_SET");
    const std::string_view name = value == nullptr ? "" : value;
    if (name.empty()) return;
    ASSERT_TRUE(name == "avx2" || name == "portable") << name;
    const auto wanted = name == "avx2" ? HWY_AVX2 : HWY_SCALAR | HWY_EMU128;
    if (name == "avx2" && (hwy::SupportedTargets() & HWY_AVX2) == 0) GTEST_SKIP() << "this machine has no AVX2";
    hwy::SetSupportedTargetsForTest(wanted);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

const auto* const kEnvironment = ::testing::AddGlobalTestEnvironment(new InstructionSet);

}  // namespace
}  // namespace trident
