#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <string>
#include <vector>

#include "train/config/config.h"
#include "train/config/keys.h"
#include "train/config/presets.h"
#include "train/config/rank_order.h"

namespace trident {
namespace config {
namespace {

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string limits(const Range& range) {
  std::string out;
  if (std::isfinite(range.min))
    out += fmt::format(R"(, "{}": {})", range.open_min ? "exclusiveMinimum" : "minimum", range.min);
  if (std::isfinite(range.max))
    out += fmt::format(R"(, "{}": {})", range.open_max ? "exclusiveMaximum" : "maximum", range.max);
  return out;
}

template <class Names>
std::string enumeration(const Names& names) {
  std::vector<std::string> quoted;
  quoted.reserve(std::size(names));
  for (const auto& name : names) quoted.push_back(quote(name));
  return fmt::format(R"("enum": [{}])", fmt::join(quoted, ", "));
}

constexpr std::string_view kCount = R"("type": "string", "pattern": "^[0-9.]+[kKMBT]$")";
constexpr std::string_view kAuto = R"("const": "auto")";

std::string either(std::string_view a, std::string_view b) { return fmt::format(R"("anyOf": [{{{}}}, {{{}}}])", a, b); }

template <class T>
struct Type;
template <>
struct Type<bool> {
  static std::string text(const Key&) { return R"("type": "boolean")"; }
};
template <>
struct Type<int64_t> {
  static std::string text(const Key& key) {
    const auto integer = R"("type": "integer")" + limits(key.range);
    return key.counts ? either(integer, kCount) : integer;
  }
};
template <>
struct Type<double> {
  static std::string text(const Key& key) { return R"("type": "number")" + limits(key.range); }
};
template <>
struct Type<std::string> {
  static std::string text(const Key&) { return R"("type": "string", "minLength": 1)"; }
};
template <>
struct Type<Seconds> {
  static std::string text(const Key&) { return R"("type": "string", "pattern": "^[0-9.]+(ms|s|m|h|d)$")"; }
};
template <>
struct Type<Resume> {
  static std::string text(const Key&) { return R"("type": ["string", "integer"])"; }
};
template <class T>
struct Type<std::array<T, 2>> {
  static std::string text(const Key& key) {
    return fmt::format(R"("type": "array", "minItems": 2, "maxItems": 2, "items": {{{}}})", Type<T>::text(key));
  }
};
template <>
struct Type<std::vector<int64_t>> {
  static std::string text(const Key& key) {
    return fmt::format(R"("type": "array", "minItems": 1, "items": {{{}}})", Type<int64_t>::text(key));
  }
};
template <>
struct Type<MeshOrder> {
  static std::string text(const Key&) { return enumeration(rank_order_names()); }
};
template <class E>
requires std::is_enum_v<E>
struct Type<E> {
  static std::string text(const Key&) { return enumeration(kNames<E>); }
};
template <class T>
struct Type<std::optional<T>> : Type<T> {};
template <class T>
struct Type<Auto<T>> {
  static std::string text(const Key& key) { return either(Type<T>::text(key), kAuto); }
};

class SchemaWriter {
 public:
  template <class T>
  void operator()(std::string_view name, T&, const Key& key) {
    auto type = name == "preset" ? enumeration(preset_names()) : Type<std::remove_const_t<T>>::text(key);
    if (key.presence == Presence::derived) type = either(type, kAuto);
    add(name, key.help, type);
    if (!key.also.empty()) add(key.also, key.help, type);
  }
  void operator()(std::string_view name, std::vector<DataSource>&, const Key& key);

  template <class S>
  void section(std::string_view name, S& value, std::string_view help, std::string_view) {
    SchemaWriter inner;
    visit(inner, value);
    auto object = inner.object("    ");
    if constexpr (requires { value.set_auto(); }) object = either(object, kAuto);
    add(name, help, object);
  }

  [[nodiscard]] std::string object(std::string_view indent) const {
    return fmt::format("\"type\": \"object\", \"additionalProperties\": false, \"properties\": {{\n{}{}}}", indent,
                       fmt::join(properties_, fmt::format(",\n{}", indent)));
  }

 private:
  void add(std::string_view name, std::string_view help, std::string_view type) {
    properties_.push_back(fmt::format(R"({}: {{"description": {}, {}}})", quote(name), quote(help), type));
  }

  std::vector<std::string> properties_;
};

void SchemaWriter::operator()(std::string_view name, std::vector<DataSource>&, const Key& key) {
  SchemaWriter source;
  DataSource example;
  visit(source, example);
  const auto prefix = Type<std::string>::text(key);
  const auto one = either(prefix, source.object("      "));
  add(name, key.help, either(one, fmt::format(R"("type": "array", "minItems": 1, "items": {{{}}})", one)));
}

}  // namespace
}  // namespace config

std::string json_schema() {
  config::SchemaWriter writer;
  JobConfig job;
  config::visit(writer, job);
  return fmt::format(
      "{{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"title\": \"Trident job\", {}}}\n",
      writer.object("  "));
}

}  // namespace trident
