#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trident {

/// A place in a JSON file, for reading it with errors that say where: "t.json: model.vocab[3]: found ..., expected
/// ...". The document outlives its nodes.
class JsonNode {
 public:
  JsonNode(std::string file, const nlohmann::json& value) : file_(std::move(file)), value_(&value) {}

  [[noreturn]] void fail(const std::string& problem) const;

  bool is_null() const { return value_->is_null(); }
  bool is_object() const { return value_->is_object(); }
  bool is_array() const { return value_->is_array(); }
  bool is_string() const { return value_->is_string(); }
  const nlohmann::json& value() const { return *value_; }

  /// A member that is absent reads as null.
  JsonNode operator[](std::string_view key) const;
  JsonNode operator[](size_t index) const;
  size_t size() const { return value_->size(); }

  const JsonNode& object() const;
  const JsonNode& array() const;
  const std::string& string() const;
  int64_t integer() const;
  bool boolean() const;
  bool boolean_or(bool fallback) const { return is_null() ? fallback : boolean(); }

  /// Refuses members that are not listed, and set, by name: what is not understood might change the ids.
  void only(std::initializer_list<std::string_view> known) const;

 private:
  JsonNode(std::string file, std::string path, const nlohmann::json& value)
      : file_(std::move(file)), path_(std::move(path)), value_(&value) {}
  [[noreturn]] void wrong_type(const char* expected) const;

  std::string file_;
  std::string path_;
  const nlohmann::json* value_;
};

/// Parses a whole file. Throws Error where it is not JSON (with line and column), nests too deeply, is too large or
/// gives one object the same member twice.
nlohmann::json read_json_file(const std::string& path);
nlohmann::json parse_json(const std::string& text, const std::string& name);

}  // namespace trident
