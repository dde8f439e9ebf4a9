// Any bytes as a tokenizer.json: refused with an Error, or a tokenizer that encodes and decodes without crashing.
#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/log.h"
#include "data/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = (trident::log::configure(trident::log::Level::error, -1), true);
  static_cast<void>(quiet);
  const std::string text(data, data + size);
  try {
    const auto tokenizer = trident::parse_tokenizer_json(text, "fuzz");
    for (const std::string& sample :
         {std::string("Hello  world's 123\r\n<|endoftext|> \xc3\xa9\xff\xe2\x82 aaaa"), text}) {
      static_cast<void>(tokenizer->decode(tokenizer->encode(sample.substr(0, 4096))));
    }
  } catch (const trident::Error&) {
  }
  return 0;
}
