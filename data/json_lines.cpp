#include "data/json_lines.h"

#include <fmt/format.h>
#include <simdjson.h>

#include "core/error.h"

namespace trident {
namespace {

[[noreturn]] void refuse(const JsonLinesSource& source, int64_t line, const std::string& reason,
                         const std::string& remedy) {
  throw Error(ErrorCode::bad_data, "data/json_lines", fmt::format("{}:{}: {}", source.file, line, reason), remedy);
}

std::string keys_of(const simdjson::dom::object& object) {
  std::string names;
  int count = 0;
  for (const auto& field : object) {
    if (++count > 8) return names + ", …";
    if (!names.empty()) names += ", ";
    names += std::string(field.key).substr(0, 40);
  }
  return names.empty() ? "nothing" : names;
}

std::string_view string_of_line(const simdjson::dom::element& element, const JsonLinesSource& source, int64_t line) {
  simdjson::dom::object object;
  if (element.get_object().get(object) != simdjson::SUCCESS) {
    refuse(source, line, "the line is not a JSON object", "write one object per line, as {\"text\": \"…\"}");
  }
  simdjson::dom::element value;
  if (object.at_key(source.key).get(value) != simdjson::SUCCESS) {
    refuse(source, line, fmt::format("the object has no key \"{}\"; it has {}", source.key, keys_of(object)),
           "name the key that holds the text with --key");
  }
  std::string_view text;
  if (value.get_string().get(text) != simdjson::SUCCESS) {
    refuse(source, line, fmt::format("\"{}\" is not a string", source.key),
           "name the key that holds the text with --key");
  }
  return text;
}

}  // namespace

void for_each_json_line(std::string& lines, const JsonLinesSource& source,
                        const std::function<void(std::string_view)>& document) {
  const size_t size = lines.size();
  lines.append(simdjson::SIMDJSON_PADDING, '\0');
  simdjson::dom::parser parser;
  int64_t line = source.first_line;
  for (size_t begin = 0; begin < size; ++line) {
    const size_t newline = lines.find('\n', begin);
    const size_t end = newline == std::string::npos || newline > size ? size : newline;
    const std::string_view text = std::string_view(lines).substr(begin, end - begin);
    if (text.find_first_not_of(" \t\r") != std::string_view::npos) {
      simdjson::dom::element element;
      const auto error = parser.parse(text.data(), text.size(), false).get(element);
      if (error != simdjson::SUCCESS) {
        refuse(source, line, simdjson::error_message(error), "correct the line or leave it out");
      }
      document(string_of_line(element, source, line));
    }
    begin = end + 1;
  }
}

}  // namespace trident
