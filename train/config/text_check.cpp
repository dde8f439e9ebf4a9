#include "train/config/text_check.h"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>

namespace trident::config {
namespace {

constexpr std::size_t kMaxBytes = 256 * 1024;

/// Length of the valid UTF-8 character at the front of `text`, 0 where there is none (RFC 3629).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return tail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const bool overlong = lead == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = lead == 0xED && byte(1) > 0x9F;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const bool overlong = lead == 0xF0 && byte(1) < 0x90;
    const bool too_large = lead == 0xF4 && byte(1) > 0x8F;
    return tail(1) && tail(2) && tail(3) && !overlong && !too_large ? 4 : 0;
  }
  return 0;
}

/// C0 and C1 controls except tab and line ends, DEL, and the two non-characters U+FFFE and U+FFFF.
bool is_control(std::string_view character) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return (byte(0) < 0x20 && byte(0) != '\t' && byte(0) != '\n') || byte(0) == 0x7F;
  if (character.size() == 2) return byte(0) == 0xC2 && byte(1) < 0xA0 && byte(1) != 0x85;
  return character == "\xEF\xBF\xBE" || character == "\xEF\xBF\xBF";
}

class TextCheck {
 public:
  TextCheck(int source, std::string_view text, Diagnostics& diagnostics)
      : source_(source), diagnostics_(diagnostics), text_(text) {}

  bool run() {
    std::size_t i = 0;
    while (i < text_.size()) {
      const auto rest = text_.substr(i);
      const auto length = utf8_length(rest);
      if (length == 0) return bad_byte(rest.front());
      if (rest.front() != '\r' || rest.substr(0, 2) != "\r\n") {
        if (is_control(rest.substr(0, length))) return bad_control(rest.front());
      }
      if (rest.front() == '\t' && only_spaces_) return bad_tab();
      advance(rest.front(), length);
      i += length;
    }
    return true;
  }

 private:
  void advance(char first, std::size_t length) {
    if (first == '\n') {
      place_ = {source_, place_.line + 1, 1};
      only_spaces_ = true;
      return;
    }
    only_spaces_ = only_spaces_ && first == ' ';
    place_.column += static_cast<int>(length);
  }

  bool bad_byte(char c) {
    const bool utf16 = text_.substr(0, 2) == "\xFF\xFE" || text_.substr(0, 2) == "\xFE\xFF";
    diagnostics_.add(place_, "E100", fmt::format("byte 0x{:02x} is not UTF-8", static_cast<unsigned char>(c)),
                     utf16 ? "the file is UTF-16; save it as UTF-8" : "save the file as UTF-8");
    return false;
  }

  bool bad_control(char c) {
    diagnostics_.add(place_, "E100",
                     fmt::format("control character 0x{:02x} in the text", static_cast<unsigned char>(c)),
                     "remove it; a job file is plain text");
    return false;
  }

  bool bad_tab() {
    diagnostics_.add(place_, "E100", "a tab indents this line", "indent with spaces");
    return false;
  }

  int source_;
  Diagnostics& diagnostics_;
  std::string_view text_;
  Place place_{source_, 1, 1};
  bool only_spaces_ = true;
};

}  // namespace

bool check_text(int source, std::string_view text, Diagnostics& diagnostics) {
  if (text.size() > kMaxBytes) {
    diagnostics.add({source, 1, 1}, "E109", fmt::format("{} bytes is too long for a job file", text.size()),
                    fmt::format("keep it below {} bytes", kMaxBytes));
    return false;
  }
  return TextCheck(source, text, diagnostics).run();
}

}  // namespace trident::config
