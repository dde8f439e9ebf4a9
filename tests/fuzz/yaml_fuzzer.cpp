#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "train/config/config.h"

// Any bytes either make a job, which then reads back as itself, or an Error; what follows a NUL is an override.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(data, data + size);
  const auto split = input.find('\0');
  std::vector<std::string> overrides;
  if (split != std::string::npos) overrides.push_back(input.substr(split + 1));
  try {
    const auto job = trident::parse_job(input.substr(0, split), "fuzz.yaml", overrides);
    TRIDENT_CHECK(trident::parse_job(trident::to_yaml(job), "other.yaml") == job);
  } catch (const trident::Error& error) {
    if (error.code() == trident::ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
