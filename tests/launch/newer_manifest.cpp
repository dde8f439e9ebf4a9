// newer_manifest MANIFEST.json: makes a checkpoint's manifest one that only a later program reads, with its own hash as
// it should be.
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "checkpoint/file_hash.h"
#include "core/error.h"

int main(int argc, char** argv) {
  try {
    TRIDENT_CHECK(argc == 2, "one file is needed");
    std::ifstream in(argv[1], std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(in), {}};
    const std::string reader = "\"min_reader\":1,", key = ",\"hash\":\"";
    const size_t at = text.find(reader);
    TRIDENT_CHECK(at != std::string::npos, "no manifest");
    text.replace(at, reader.size(), "\"min_reader\":999,");
    text.resize(text.rfind(key) + key.size());
    text += to_hex(trident::hash_bytes(text)) + "\"}\n";
    std::ofstream(argv[1], std::ios::binary) << text;
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
