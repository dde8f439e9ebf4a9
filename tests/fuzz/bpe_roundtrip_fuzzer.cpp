// Any bytes as text: they come back from their ids, and every id is in the vocabulary.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "data/tokenizer_json.h"
#include "tests/data/small_bpe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto tokenizer =
      trident::parse_tokenizer_json(trident::fixtures::small_tokenizer_json().dump(), "small");
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::vector<int32_t> ids = tokenizer->encode(text);
  for (const int32_t id : ids) {
    if (id < 0 || id >= tokenizer->vocab_size()) std::abort();
  }
  if (tokenizer->decode(ids) != text) std::abort();
  return 0;
}
