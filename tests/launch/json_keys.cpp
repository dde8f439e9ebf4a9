// json_keys < DOCUMENT: prints the top-level keys of a JSON object, sorted, one line. Exit code 65 for anything else.
#include <nlohmann/json.hpp>

#include <iostream>
#include <string>

int main() {
  const auto document = nlohmann::json::parse(std::cin, nullptr, false);
  if (!document.is_object()) {
    std::cerr << "not a JSON object\n";
    return 65;
  }
  std::string line;
  for (const auto& item : document.items()) line += (line.empty() ? "" : " ") + item.key();
  std::cout << line << '\n';
  return 0;
}
