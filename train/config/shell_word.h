#pragma once

#include <string>

namespace trident {

/// As one word of a POSIX shell: as it is where that means the same, else between quotes.
[[nodiscard]] std::string shell_word(const std::string& word);

}  // namespace trident
