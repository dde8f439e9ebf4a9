#pragma once

#include <string>
#include <string_view>
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

/// Lines of what a whole is made of, `all` in the unit of their values: "  forward      1.620 s   42.00 %".
class Shares {
 public:
  explicit Shares(double all) : all_(all) {}
  void add(std::string_view what, double part, std::string_view shown);
  [[nodiscard]] const std::string& to_string() const { return text_; }

 private:
  double all_;
  std::string text_;
};

/// "1.62 MiB"
[[nodiscard]] std::string mebibytes(double bytes);

}  // namespace trident
