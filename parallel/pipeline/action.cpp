#include "parallel/pipeline/action.h"

#include <array>
#include <charconv>

namespace trident::pipeline {
namespace {

constexpr std::array<std::string_view, 9> kNames = {"F",      "B",      "I",      "W",          "SEND_F",
                                                    "RECV_F", "SEND_B", "RECV_B", "REDUCE_TIED"};

std::optional<Op> op_of(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<Op>(i);
  return std::nullopt;
}

// Digits without sign or leading zeros, as to_string writes them.
std::optional<int32_t> number(std::string_view digits) {
  int32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || digits.front() == '-') return std::nullopt;
  if (digits.size() > 1 && digits.front() == '0') return std::nullopt;
  return value;
}

}  // namespace

std::string_view op_name(Op op) { return kNames.at(static_cast<size_t>(op)); }

std::string to_string(const Action& action) {
  std::string text = std::to_string(action.stage);
  text += op_name(action.op);
  if (!is_reduce(action.op)) text += std::to_string(action.microbatch);
  return text;
}

std::optional<Action> parse_action(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789";
  const size_t name = text.find_first_not_of(kDigits);
  if (name == std::string_view::npos || name == 0) return std::nullopt;
  const size_t name_end = std::min(text.find_first_of(kDigits, name), text.size());
  const auto op = op_of(text.substr(name, name_end - name));
  const auto stage = number(text.substr(0, name));
  if (!op || !stage || is_reduce(*op) != (name_end == text.size())) return std::nullopt;
  if (is_reduce(*op)) return Action{*stage, *op, -1};
  const auto microbatch = number(text.substr(name_end));
  if (!microbatch) return std::nullopt;
  return Action{*stage, *op, *microbatch};
}

}  // namespace trident::pipeline
