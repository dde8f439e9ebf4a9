#include "checkpoint/byte_tokenizer_json.h"

#include <nlohmann/json.hpp>

#include <cstdint>

namespace trident {
namespace {

std::string utf8(uint32_t code_point) {  // only code points below 0x800 occur
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  return {static_cast<char>(0xc0 | (code_point >> 6)), static_cast<char>(0x80 | (code_point & 0x3f))};
}

/// Byte-level tokenizers write a byte as one visible character: printable Latin-1 as itself, the rest in byte order
/// from U+0100.
bool is_visible(uint32_t byte) { return (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad); }

}  // namespace

std::string byte_tokenizer_json() {
  nlohmann::ordered_json vocabulary;
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) vocabulary[utf8(is_visible(byte) ? byte : next++)] = byte;
  const nlohmann::ordered_json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const nlohmann::ordered_json model = {{"type", "BPE"},
                                        {"dropout", nullptr},
                                        {"unk_token", nullptr},
                                        {"continuing_subword_prefix", nullptr},
                                        {"end_of_word_suffix", nullptr},
                                        {"fuse_unk", false},
                                        {"byte_fallback", false},
                                        {"ignore_merges", false},
                                        {"vocab", vocabulary},
                                        {"merges", nlohmann::ordered_json::array()}};
  const nlohmann::ordered_json json = {{"version", "1.0"},
                                       {"truncation", nullptr},
                                       {"padding", nullptr},
                                       {"added_tokens", nlohmann::ordered_json::array()},
                                       {"normalizer", nullptr},
                                       {"pre_tokenizer", byte_level},
                                       {"post_processor", nullptr},
                                       {"decoder", byte_level},
                                       {"model", model}};
  return json.dump(2) + "\n";
}

}  // namespace trident
