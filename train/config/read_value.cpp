#include "train/config/read_value.h"

#include "train/config/rank_order.h"

namespace trident::config {
namespace {

std::string_view kind_name(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null: return "empty";
    case YamlNode::Kind::scalar: return node.quoted ? "quoted text" : "one value";
    case YamlNode::Kind::sequence: return "a list";
    case YamlNode::Kind::map: return "a mapping";
    case YamlNode::Kind::refused: break;
  }
  return "unreadable";
}

std::string bounds(const Range& range) {
  const bool has_min = range.min > -std::numeric_limits<double>::infinity();
  const bool has_max = range.max < std::numeric_limits<double>::infinity();
  const auto low = fmt::format("{} {}", range.open_min ? "above" : "at least", fmt::format("{:g}", range.min));
  const auto high = fmt::format("{} {}", range.open_max ? "below" : "at most", fmt::format("{:g}", range.max));
  if (has_min && has_max) return low + " and " + high;
  return has_min ? low : high;
}

/// `kind` is the plural of what one value is: "numbers".
template <class T>
bool read_pair(const YamlNode& node, std::array<T, 2>& out, std::string_view kind, const ValueContext& context) {
  if (node.kind != YamlNode::Kind::sequence) return context.wrong_type(node, fmt::format("a list of two {}", kind));
  if (node.items.size() != out.size()) {
    return context.wrong_text(node, fmt::format("{} {} given", node.items.size(), kind), fmt::format("two {}", kind));
  }
  bool good = true;
  for (std::size_t i = 0; i < out.size(); ++i) good = read_value(node.items[i], out[i], context) && good;
  return good;
}

/// True for a plain scalar; reports anything else.
bool is_plain_scalar(const YamlNode& node, std::string_view expected, const ValueContext& context) {
  if (node.kind == YamlNode::Kind::scalar && !node.quoted) return true;
  return context.wrong_type(node, expected);
}

}  // namespace

std::string ValueContext::example() const {
  const auto name = path.substr(path.rfind('.') + 1);
  return fmt::format("{}: {}", name, key.example);
}

bool ValueContext::wrong_type(const YamlNode& node, std::string_view expected) const {
  if (node.kind == YamlNode::Kind::refused) return false;
  if (node.kind == YamlNode::Kind::null) {
    diagnostics.add(node.place, "E105", fmt::format("{} has no value", path),
                    fmt::format("write {}, or remove the key", example()));
    return false;
  }
  diagnostics.add(
      node.place, "E105", fmt::format("{} is {}, expected {}", path, kind_name(node), expected),
      fmt::format("{}e.g. {}", node.kind == YamlNode::Kind::scalar && node.quoted ? "remove the quotes, " : "",
                  example()));
  return false;
}

bool ValueContext::wrong_text(const YamlNode& node, const std::string& reason, std::string_view expected) const {
  diagnostics.add(node.place, "E105", fmt::format("{}: {}", path, reason),
                  fmt::format("write {}, e.g. {}", expected, example()));
  return false;
}

bool ValueContext::in_range(const YamlNode& node, double value, const std::string& written) const {
  const auto& range = key.range;
  const bool low = value > range.min || (value == range.min && !range.open_min);
  const bool high = value < range.max || (value == range.max && !range.open_max);
  if (low && high) return true;
  diagnostics.add(node.place, "E106", fmt::format("{} is {}, must be {}", path, written, bounds(range)),
                  fmt::format("e.g. {}", example()));
  return false;
}

bool read_value(const YamlNode& node, bool& out, const ValueContext& context) {
  if (!is_plain_scalar(node, "true or false", context)) return false;
  const auto parsed = parse_bool(node.text);
  if (!parsed.value) return context.wrong_text(node, parsed.reason, "true or false");
  out = *parsed.value;
  return true;
}

bool read_value(const YamlNode& node, int64_t& out, const ValueContext& context) {
  const std::string_view expected = context.key.counts ? "an integer or a number like 1.5M or 100B" : "an integer";
  if (!is_plain_scalar(node, expected, context)) return false;
  const auto parsed = context.key.counts ? parse_count(node.text) : parse_integer(node.text);
  if (!parsed.value) return context.wrong_text(node, parsed.reason, expected);
  if (!context.in_range(node, static_cast<double>(*parsed.value), node.text)) return false;
  out = *parsed.value;
  return true;
}

bool read_value(const YamlNode& node, double& out, const ValueContext& context) {
  if (!is_plain_scalar(node, "a number", context)) return false;
  const auto parsed = parse_number(node.text);
  if (!parsed.value) return context.wrong_text(node, parsed.reason, "a number");
  if (!context.in_range(node, *parsed.value, node.text)) return false;
  out = *parsed.value;
  return true;
}

bool read_value(const YamlNode& node, std::string& out, const ValueContext& context) {
  if (node.kind != YamlNode::Kind::scalar) return context.wrong_type(node, "text");
  if (node.text.empty()) return context.wrong_text(node, "is empty", "text");
  if (node.text.find('\0') != std::string::npos) return context.wrong_text(node, "holds a NUL character", "plain text");
  out = node.text;
  return true;
}

bool read_value(const YamlNode& node, Seconds& out, const ValueContext& context) {
  if (!is_plain_scalar(node, "a duration", context)) return false;
  const auto parsed = parse_duration(node.text);
  if (!parsed.value) return context.wrong_text(node, parsed.reason, "a duration");
  if (!context.in_range(node, parsed.value->value, node.text)) return false;
  out = *parsed.value;
  return true;
}

bool read_value(const YamlNode& node, Resume& out, const ValueContext& context) {
  if (node.is("auto") || node.is("never")) {
    out = {.kind = node.text == "auto" ? Resume::Kind::automatic : Resume::Kind::never, .step = 0, .path = {}};
    return true;
  }
  const bool numeric = node.kind == YamlNode::Kind::scalar && !node.quoted && !node.text.empty() &&
                       node.text.find_first_not_of("0123456789_+-.") == std::string::npos && node.text != "." &&
                       node.text != "..";
  if (numeric) {
    int64_t step = 0;
    if (!read_value(node, step, {context.diagnostics, context.path, context.key})) return false;
    out = {.kind = Resume::Kind::step, .step = step, .path = {}};
    return true;
  }
  std::string path;
  if (!read_value(node, path, context)) return false;
  out = {.kind = Resume::Kind::path, .step = 0, .path = std::move(path)};
  return true;
}

bool read_value(const YamlNode& node, std::array<double, 2>& out, const ValueContext& context) {
  return read_pair(node, out, "numbers", context);
}

bool read_value(const YamlNode& node, std::array<int64_t, 2>& out, const ValueContext& context) {
  return read_pair(node, out, "integers", context);
}

bool read_value(const YamlNode& node, std::vector<int64_t>& out, const ValueContext& context) {
  if (node.kind != YamlNode::Kind::sequence) return context.wrong_type(node, "a list of integers");
  if (node.items.empty()) return context.wrong_text(node, "the list is empty", "at least one integer");
  bool good = true;
  for (const YamlNode& item : node.items) good = read_value(item, out.emplace_back(), context) && good;
  return good;
}

bool read_value(const YamlNode& node, MeshOrder& out, const ValueContext& context) {
  for (const MeshOrder& order : kRankOrders) {
    if (node.kind != YamlNode::Kind::scalar || node.text != name_of(order)) continue;
    out = order;
    return true;
  }
  return refuse_name(node, rank_order_names(), context);
}

bool refuse_name(const YamlNode& node, const std::vector<std::string>& names, const ValueContext& context) {
  const auto choices = fmt::format("one of {}", fmt::join(names, ", "));
  if (node.kind != YamlNode::Kind::scalar) return context.wrong_type(node, choices);
  const auto near = nearest(node.text, names);
  const auto remedy = near.empty() ? choices : fmt::format("did you mean {}? {}", near, choices);
  context.diagnostics.add(node.place, "E107", fmt::format("{} cannot be `{}`", context.path, node.text.substr(0, 60)),
                          remedy);
  return false;
}

}  // namespace trident::config
