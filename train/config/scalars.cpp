#include "train/config/scalars.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace trident::config {
namespace {

constexpr std::size_t kMaxNumber = 40;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool all_digits(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_digit); }

std::string quoted(std::string_view text) {
  return text.size() > kMaxNumber ? fmt::format("`{}…`", text.substr(0, kMaxNumber)) : fmt::format("`{}`", text);
}

std::string_view without_sign(std::string_view text) {
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  return text;
}

/// Why digits that other YAML readers disagree about are refused; empty where nothing is wrong.
std::string ambiguity(std::string_view text) {
  const auto digits = without_sign(text);
  if (digits.empty()) return "is no number";
  const bool numeric = is_digit(digits.front()) || digits.front() == '.';
  if (numeric && digits.find('_') != std::string_view::npos) return "has an underscore; write the digits together";
  if (digits.size() > 1 && digits[0] == '0' && is_digit(digits[1]))
    return "has a leading zero; YAML 1.1 reads it as octal";
  if (digits.size() > 1 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'o' || digits[1] == 'b')) {
    return "is not decimal; write it in decimal";
  }
  if (numeric && digits.find(',') != std::string_view::npos) return "has a comma; write the digits together";
  return {};
}

/// digits [. digits] | . digits, then optionally e[+-]digits.
bool is_decimal(std::string_view text) {
  const auto exponent = text.find_first_of("eE");
  auto mantissa = text.substr(0, exponent);
  if (exponent != std::string_view::npos && !all_digits(without_sign(text.substr(exponent + 1)))) return false;
  const auto point = mantissa.find('.');
  if (point == std::string_view::npos) return all_digits(mantissa);
  const auto whole = mantissa.substr(0, point);
  const auto fraction = mantissa.substr(point + 1);
  return (whole.empty() || all_digits(whole)) && (fraction.empty() || all_digits(fraction)) &&
         whole.size() + fraction.size() > 0;
}

bool is_not_finite(std::string_view text) {
  std::string lower(without_sign(text));
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return lower == ".inf" || lower == ".nan" || lower == "inf" || lower == "nan" || lower == "infinity";
}

template <class T>
Parsed<T> refuse(std::string_view text, std::string_view reason) {
  return {std::nullopt, fmt::format("{} {}", quoted(text), reason)};
}

struct Unit {
  std::string_view name;
  double factor;
};

constexpr std::array kCountUnits = std::to_array<Unit>({{"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"B", 1e9}, {"T", 1e12}});
constexpr std::array kTimeUnits = std::to_array<Unit>({{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}});

template <class Units>
std::optional<Unit> unit_of(std::string_view text, const Units& units) {
  for (const auto& unit : units) {
    if (text.ends_with(unit.name) && text.size() > unit.name.size() &&
        !std::isalpha(static_cast<unsigned char>(text[text.size() - unit.name.size() - 1]))) {
      return unit;
    }
  }
  return std::nullopt;
}

}  // namespace

Parsed<bool> parse_bool(std::string_view text) {
  if (text == "true") return {true, {}};
  if (text == "false") return {false, {}};
  return refuse<bool>(text, "is not a boolean");
}

Parsed<int64_t> parse_integer(std::string_view text) {
  if (const auto why = ambiguity(text); !why.empty()) return refuse<int64_t>(text, why);
  int64_t value = 0;
  const auto digits = text.front() == '+' ? text.substr(1) : text;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc::result_out_of_range) return refuse<int64_t>(text, "does not fit in 64 bits");
  if (error != std::errc{} || end != digits.data() + digits.size()) return refuse<int64_t>(text, "is not an integer");
  return {value, {}};
}

Parsed<int64_t> parse_count(std::string_view text) {
  const auto unit = unit_of(text, kCountUnits);
  if (!unit) return parse_integer(text);
  const auto number = parse_number(text.substr(0, text.size() - unit->name.size()));
  if (!number.value) return {std::nullopt, number.reason};
  const double value = *number.value * unit->factor;
  if (!(std::abs(value) < 9e18)) return refuse<int64_t>(text, "does not fit in 64 bits");
  // 1.1M is 1100000.0000000002 in binary: whole means within rounding.
  const double whole = std::round(value);
  if (std::abs(value - whole) > 1e-9 * std::max(1.0, std::abs(value))) return refuse<int64_t>(text, "is not whole");
  return {static_cast<int64_t>(whole), {}};
}

Parsed<double> parse_number(std::string_view text) {
  if (is_not_finite(text)) return refuse<double>(text, "is not finite");
  if (const auto why = ambiguity(text); !why.empty()) return refuse<double>(text, why);
  if (!is_decimal(without_sign(text))) return refuse<double>(text, "is not a number");
  double value = 0;
  const auto digits = text.front() == '+' ? text.substr(1) : text;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc::result_out_of_range) return refuse<double>(text, "does not fit in a double");
  if (error != std::errc{} || end != digits.data() + digits.size()) return refuse<double>(text, "is not a number");
  return {value, {}};
}

Parsed<Seconds> parse_duration(std::string_view text) {
  const auto unit = unit_of(text, kTimeUnits);
  if (!unit) {
    return refuse<Seconds>(text, parse_number(text).value ? "has no unit; add ms, s, m, h or d" : "is not a duration");
  }
  const auto number = parse_number(text.substr(0, text.size() - unit->name.size()));
  if (!number.value) return {std::nullopt, number.reason};
  const double value = *number.value * unit->factor;
  if (!std::isfinite(value)) return refuse<Seconds>(text, "is not finite");
  return {Seconds{value}, {}};
}

std::string format_number(double value) {
  std::array<char, 40> buffer{};
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  TRIDENT_CHECK(error == std::errc{});
  std::string text(buffer.data(), end);
  if (text.find('.') != std::string::npos) return text;
  const auto exponent = text.find('e');
  return exponent == std::string::npos ? text + ".0" : text.insert(exponent, ".0");
}

std::string format_duration(Seconds value) {
  auto text = format_number(value.value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text + "s";
}

namespace {

bool is_plain(std::string_view text) {
  constexpr std::array kWords = std::to_array<std::string_view>(
      {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "auto", "never", "inf", "nan"});
  if (text.empty()) return false;
  const auto safe = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '/' || c == '.' || c == '-';
  };
  if (!std::all_of(text.begin(), text.end(), safe)) return false;
  const char first = text.front();
  const bool path_like = text.starts_with("./") || text.starts_with("../");
  if (is_digit(first) || first == '-' || (first == '.' && !path_like)) return false;
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kWords.begin(), kWords.end(), lower) == kWords.end();
}

/// Two bytes from `i` that spell a C1 control, or three that spell a line separator or byte order mark.
std::size_t unprintable_length(std::string_view text, std::size_t i) {
  const auto rest = text.substr(i);
  if (rest.size() > 1 && rest[0] == '\xC2' && static_cast<unsigned char>(rest[1]) <= 0xA0) return 2;
  for (const std::string_view mark : {"\xE2\x80\xA8", "\xE2\x80\xA9", "\xEF\xBB\xBF", "\xEF\xBF\xBE", "\xEF\xBF\xBF"}) {
    if (rest.starts_with(mark)) return 3;
  }
  return 0;
}

unsigned code_point(std::string_view utf8) {
  const auto bits = [&](std::size_t i) { return static_cast<unsigned char>(utf8[i]) & 0x3FU; };
  if (utf8.size() == 2) return ((static_cast<unsigned char>(utf8[0]) & 0x1FU) << 6U) | bits(1);
  return ((static_cast<unsigned char>(utf8[0]) & 0x0FU) << 12U) | (bits(1) << 6U) | bits(2);
}

}  // namespace

std::string format_text(std::string_view value) {
  if (is_plain(value)) return std::string(value);
  std::string out = "\"";
  for (std::size_t i = 0; i < value.size(); ++i) {
    const auto byte = static_cast<unsigned char>(value[i]);
    if (const auto length = unprintable_length(value, i); length > 0) {
      out += fmt::format("\\u{:04x}", code_point(value.substr(i, length)));
      i += length - 1;
    } else if (value[i] == '"' || value[i] == '\\') {
      out += {'\\', value[i]};
    } else if (value[i] == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += value[i];
    }
  }
  return out + '"';
}

std::string format_resume(const Resume& resume) {
  switch (resume.kind) {
    case Resume::Kind::automatic: return "auto";
    case Resume::Kind::never: return "never";
    case Resume::Kind::step: return std::to_string(resume.step);
    case Resume::Kind::path: break;
  }
  return format_text(resume.path);
}

}  // namespace trident::config
