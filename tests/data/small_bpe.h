#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/byte_alphabet.h"

namespace trident::fixtures {

/// The merges of a small byte-level vocabulary, in the byte alphabet ("Ġ" is a space).
inline std::vector<std::pair<std::string, std::string>> small_merges() {
  return {{"h", "e"}, {"l", "l"}, {"he", "ll"},   {"hell", "o"}, {"Ġ", "w"},   {"o", "r"}, {"Ġw", "or"},
          {"l", "d"}, {"a", "a"}, {"Ġwor", "ld"}, {"Ġ", "Ġ"},    {"aa", "aa"}, {"Ã", "©"}, {"ĠĠ", "ĠĠ"}};
}

/// A tokenizer.json with ids 0..255 for the bytes in order, 256.. for small_merges(), GPT-2's splits and one special
/// token, <|endoftext|>, behind them.
inline nlohmann::json small_tokenizer_json() {
  nlohmann::json vocab;
  for (int byte = 0; byte < 256; ++byte) {
    const char letter = static_cast<char>(byte);
    vocab[to_byte_alphabet(std::string_view(&letter, 1))] = byte;
  }
  nlohmann::json merges = nlohmann::json::array();
  for (const auto& [left, right] : small_merges()) {
    vocab[left + right] = vocab.size();
    std::string merge = left;
    merge += ' ';
    merge += right;
    merges.push_back(merge);
  }
  nlohmann::json end = {{"id", vocab.size()}, {"content", "<|endoftext|>"}, {"single_word", false}, {"lstrip", false},
                        {"rstrip", false},    {"normalized", false},        {"special", true}};
  nlohmann::json file;
  file["version"] = "1.0";
  file["added_tokens"] = nlohmann::json::array({end});
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  file["decoder"] = {{"type", "ByteLevel"}};
  file["model"] = {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}};
  return file;
}

}  // namespace trident::fixtures
