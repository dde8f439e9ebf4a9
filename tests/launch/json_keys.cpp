// json_keys < DOCUMENT: prints the top-level keys of a JSON object, sorted, one line. Exit code 65 for anything else.
#include <nlohmann/json.hpp>

#include <exception>
#include <iostream>
#include <string>

int main() {
  try {
    const auto document = nlohmann::json::parse(std::cin);
    std::string line;
    for (const auto& item : document.get_ref<const nlohmann::json::object_t&>())
      line += (line.empty() ? "" : " ") + item.first;
    std::cout << line << '\n';
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "not a JSON object: " << error.what() << '\n';
    return 65;
  }
}
