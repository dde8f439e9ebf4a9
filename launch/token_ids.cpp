#include "launch/token_ids.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "core/error.h"

namespace trident {

std::vector<int32_t> parse_token_ids(const std::string& text) {
  std::string spaced = text;
  std::replace(spaced.begin(), spaced.end(), ',', ' ');
  std::istringstream stream(spaced);
  std::vector<int32_t> ids;
  for (std::string word; stream >> word;) {
    int32_t value = -1;
    const auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (failure != std::errc() || end != word.data() + word.size() || value < 0)
      throw Error(ErrorCode::usage, "token ids", "'" + word + "' is no token id", "give numbers, such as 1,2,3");
    ids.push_back(value);
  }
  return ids;
}

}  // namespace trident
