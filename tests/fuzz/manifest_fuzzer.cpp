// Any bytes as the text of a checkpoint's manifest, given its right hash: either an Error(bad_data), or a manifest that
// comes back from its own text and whose cover is judged as counting every element judges it.
#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "core/error.h"
#include "tests/checkpoint/sealed_text.h"

namespace {

constexpr int64_t kCounted = 1 << 14;

bool covers_by_count(const trident::Manifest& manifest, size_t tensor) {
  const trident::LogicalBlock whole = trident::whole_block(manifest.tensors[tensor].shape);
  std::vector<int> count(static_cast<size_t>(whole.elements()));
  for (const trident::RankFile& file : manifest.rank_files) {
    for (const auto& [of, block, offset] : file.segments) {
      if (static_cast<size_t>(of) != tensor) continue;
      for (int64_t row = block.row0; row < block.row0 + block.rows; ++row)
        for (int64_t column = block.column0; column < block.column0 + block.columns; ++column)
          ++count[static_cast<size_t>(row * whole.columns + column)];
    }
  }
  for (const int n : count)
    if (n != 1) return false;
  return true;
}

void check_cover(const trident::Manifest& manifest) {
  int64_t elements = 0;
  for (const trident::LogicalTensor& tensor : manifest.tensors) elements += tensor.shape.elements();
  bool covered = true;
  try {
    trident::require_exact_cover(manifest, "fuzz");
  } catch (const trident::Error& error) {
    if (error.code() != trident::ErrorCode::bad_data) __builtin_trap();
    covered = false;
  }
  if (elements > kCounted) return;
  bool counted = true;
  for (size_t tensor = 0; tensor < manifest.tensors.size(); ++tensor)
    counted = counted && covers_by_count(manifest, tensor);
  if (covered != counted) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const std::string text(reinterpret_cast<const char*>(data), size);
    const trident::Manifest manifest = trident::decode_manifest(trident::testing::sealed(text), "fuzz");
    if (trident::decode_manifest(trident::encode(manifest), "fuzz") != manifest) __builtin_trap();
    (void)manifest.bytes();
    check_cover(manifest);
  } catch (const trident::Error& error) {
    if (error.code() != trident::ErrorCode::bad_data) __builtin_trap();
  }
  return 0;
}
