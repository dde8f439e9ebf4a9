// tokenizer_dump TOKENIZER < FRAMES: prints the ids of many texts, for tests/interop/tokenizer_parity.py.
// A frame is the text's size in bytes as a decimal line, then the text. A line of ids answers each; a line that starts
// with '!' an error. Ids are decoded again, and a '~' ends the line where the text does not come back.
#include <iostream>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/tokenizer.h"

namespace {

void answer(const trident::Tokenizer& tokenizer, const std::string& text) {
  try {
    const std::vector<int32_t> ids = tokenizer.encode(text);
    for (size_t i = 0; i < ids.size(); ++i) std::cout << (i == 0 ? "" : " ") << ids[i];
    if (tokenizer.decode(ids) != text) std::cout << " ~";
    std::cout << '\n';
  } catch (const trident::Error& error) {
    std::cout << "! " << error.what() << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: tokenizer_dump TOKENIZER < FRAMES\n";
    return 64;
  }
  std::ios::sync_with_stdio(false);
  try {
    const auto tokenizer = trident::load_tokenizer(argv[1]);
    size_t size = 0;
    while (std::cin >> size) {
      std::cin.get();
      std::string text(size, '\0');
      if (!std::cin.read(text.data(), static_cast<std::streamsize>(size))) return 65;
      answer(*tokenizer, text);
    }
  } catch (const trident::Error& error) {
    std::cerr << error.what() << '\n';
    return error.exit_code();
  }
  return 0;
}
