#include "train/config/shell_word.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace trident {

std::string shell_word(const std::string& word) {
  const auto plain = [](unsigned char c) {
    return c > 0x7F || std::isalnum(c) != 0 ||
           std::string_view("_-./=,:+@%").find(static_cast<char>(c)) != std::string::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace trident
