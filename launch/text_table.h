#pragma once

#include <string>
#include <vector>

namespace trident {

/// Lines of aligned columns under their headings.
class TextTable {
 public:
  /// A heading that begins with '>' is of numbers: its column is aligned to the right.
  explicit TextTable(std::vector<std::string> headings);
  /// As many cells as headings.
  void add(std::vector<std::string> cells);
  [[nodiscard]] std::string to_string() const;

 private:
  std::vector<bool> numbers_;
  std::vector<std::vector<std::string>> rows_;
};

/// "1.62 MiB"
[[nodiscard]] std::string mebibytes(double bytes);

}  // namespace trident
