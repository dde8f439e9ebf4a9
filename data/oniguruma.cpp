#include "data/oniguruma.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

#include "core/error.h"
#include "data/newer_unicode.h"
#include "data/utf8.h"

namespace trident {
namespace {

// White_Space; PCRE2's own \s also takes U+180E.
constexpr const char* kSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr const char* kNotSpace =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr const char* kHexDigit = "0-9A-Fa-f";
constexpr const char* kNewerHan = R"(\x{2b739}\x{2ebf0}-\x{2ee5d}\x{2ffc}-\x{2fff}\x{31350}-\x{323af})";
constexpr size_t kMaxPattern = 65536;
constexpr size_t kMaxNesting = 100;

class Translator {
 public:
  Translator(std::string_view pattern, UnicodeTables tables) : in_(pattern), tables_(tables) {}

  std::string run() {
    if (in_.size() > kMaxPattern) refuse("a pattern of more than 65536 bytes");
    while (at_ < in_.size()) step();
    if (!groups_.empty()) refuse("'(' without ')'");
    return out_;
  }

 private:
  struct Group {
    size_t out_start;
    bool caseless;  // of the enclosing group, restored at ')'
    bool assertion;
  };

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::bad_data, "data/tokenizer",
                "split pattern, byte " + std::to_string(at_) + ": " + what + " is not supported",
                "rewrite the pattern without it");
  }

  bool more() const { return at_ < in_.size(); }
  bool next_is(std::string_view text) const { return in_.substr(at_, text.size()) == text; }

  void step() {
    switch (in_[at_]) {
      case '\\':
        start_atom();
        escape();
        return;
      case '[':
        start_atom();
        bracket();
        return;
      case '(': open_group(); return;
      case ')': close_group(); return;
      case '|':
        out_ += in_[at_++];
        atom_ = kNone;
        return;
      case '^':
      case '$':
        out_ += in_[at_++];
        atom_ = kNone;
        return;
      case '*':
      case '+':
      case '?': quantifier(); return;
      case '{': brace(); return;
      default:
        start_atom();
        literal();
        return;
    }
  }

  void start_atom() { atom_ = out_.size(); }

  void literal() {
    const size_t length = utf8_length(in_[at_]);
    if (in_[at_] == '\0') {
      out_ += "\\x{0}";
    } else {
      out_ += in_.substr(at_, length);
    }
    at_ += length;
  }

  // ---- escapes

  void escape() {
    ++at_;
    if (!more()) refuse("a backslash at the end");
    const char c = in_[at_++];
    switch (c) {
      case 's': out_ += fmt::format("[{}]", kSpace); return;
      case 'S': out_ += fmt::format("[^{}]", kSpace); return;
      case 'w': out_ += fmt::format("[{}]", word()); return;
      case 'W': out_ += fmt::format("[^{}]", word()); return;
      case 'd': out_ += fmt::format("[{}]", category("Nd")); return;
      case 'D': out_ += fmt::format("[^{}]", category("Nd")); return;
      case 'h': out_ += fmt::format("[{}]", kHexDigit); return;
      case 'H': out_ += fmt::format("[^{}]", kHexDigit); return;
      case 'b': out_ += fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", word()); return;
      case 'B': out_ += fmt::format("(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))", word()); return;
      case 'A':
      case 'z':
      case 'Z':
        out_ += {'\\', c};
        atom_ = kNone;
        return;
      case 'p':
      case 'P': {
        bool negated = c == 'P';
        const std::string body = property(negated);
        out_ += fmt::format("[{}{}]", negated ? "^" : "", body);
        return;
      }
      default: out_ += character_escape(c); return;
    }
  }

  /// An escape that stands for one character, in or out of brackets; `at_` is behind its first letter.
  std::string character_escape(char c) {
    switch (c) {
      case 't': return "\\x{9}";
      case 'n': return "\\x{a}";
      case 'v': return "\\x{b}";
      case 'f': return "\\x{c}";
      case 'r': return "\\x{d}";
      case 'a': return "\\x{7}";
      case 'e': return "\\x{1b}";
      case 'x': return hex_escape();
      case 'u': return fmt::format("\\x{{{}}}", hex_digits(4, 4));
      default: break;
    }
    if (static_cast<unsigned char>(c) >= 0x80 || std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '\0') {
      --at_;
      refuse(std::string("the escape \\") + c);
    }
    return {'\\', c};
  }

  std::string hex_escape() {
    if (!next_is("{")) {
      const std::string digits = hex_digits(1, 2);
      if (digits.size() == 2 && digits[0] >= '8') refuse(fmt::format("a raw byte \\x{}", digits));
      return fmt::format("\\x{{{}}}", digits);
    }
    ++at_;
    const std::string digits = hex_digits(1, 6);
    if (!next_is("}")) refuse("\\x{ without }");
    ++at_;
    return fmt::format("\\x{{{}}}", digits);
  }

  std::string hex_digits(size_t least, size_t most) {
    const size_t start = at_;
    while (more() && at_ - start < most && std::isxdigit(static_cast<unsigned char>(in_[at_])) != 0) ++at_;
    if (at_ - start < least) refuse("a \\x or \\u escape without its hex digits");
    return std::string(in_.substr(start, at_ - start));
  }

  // ---- character sets

  /// The inside of a class for a general category.
  std::string category(const std::string& name) const {
    std::string body = fmt::format("\\p{{{}}}", name);
    if (tables_ == UnicodeTables::extended) body += newer_ranges(name);
    return body;
  }

  /// Oniguruma's \w, which takes Latin-1's superscripts and fractions too.
  std::string word() const {
    std::string body = R"(\p{Alphabetic}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
    for (const char* name : {"L", "M", "Nd", "Pc"}) body += category(name);
    return body;
  }

  /// `{name}` behind \p or \P as the inside of a class; flips `negated` on \p{^name}.
  std::string property(bool& negated) {
    if (!next_is("{")) refuse("\\p without {name}");
    const size_t close = in_.find('}', at_);
    if (close == std::string_view::npos) refuse("\\p{ without }");
    std::string name(in_.substr(at_ + 1, close - at_ - 1));
    at_ = close + 1;
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.erase(0, 1);
    }
    const bool plain =
        std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
    if (name.empty() || !plain) refuse(fmt::format("the property \\p{{{}}}", name));
    return named_set(name);
  }

  std::string named_set(std::string name) {
    if (name == "Any") return "\\p{Any}";
    if (name == "Alphabetic") return "\\p{Alphabetic}" + category("L");
    if (name == "White_Space") return kSpace;
    const std::string general = general_category(name);
    if (!general.empty()) {
      const bool cased = general == "Lu" || general == "Ll" || general == "Lt";
      if (cased && caseless_) refuse(fmt::format("\\p{{{}}} under (?i)", name));
      return category(general);
    }
    std::string body = fmt::format("\\p{{sc:{}}}", name);  // a bare name would mean Script_Extensions to PCRE2
    if (name == "Han" && tables_ == UnicodeTables::extended) body += kNewerHan;
    return body;
  }

  static std::string general_category(const std::string& name) {
    static constexpr std::pair<const char*, const char*> kLong[] = {{"Letter", "L"},
                                                                    {"Mark", "M"},
                                                                    {"Number", "N"},
                                                                    {"Punctuation", "P"},
                                                                    {"Symbol", "S"},
                                                                    {"Separator", "Z"},
                                                                    {"Uppercase_Letter", "Lu"},
                                                                    {"Lowercase_Letter", "Ll"},
                                                                    {"Other", "C"},
                                                                    {"Decimal_Number", "Nd"}};
    for (const auto& [long_name, short_name] : kLong) {
      if (name == long_name) return short_name;
    }
    static constexpr std::string_view kShort =
        " L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp Cc Cf Co ";
    return kShort.find(fmt::format(" {} ", name)) != std::string_view::npos ? name : std::string();
  }

  void bracket() {
    out_ += in_[at_++];
    if (next_is("^")) out_ += in_[at_++];
    if (next_is("]")) refuse("']' at the front of a character class");
    while (more() && in_[at_] != ']') bracket_member();
    if (!more()) refuse("'[' without ']'");
    out_ += in_[at_++];
  }

  void bracket_member() {
    if (in_[at_] == '[') refuse("a class within a class");
    if (next_is("&&")) refuse("an intersection (&&)");
    if (in_[at_] != '\\') {
      literal();
      return;
    }
    ++at_;
    if (!more()) refuse("a backslash at the end");
    const char c = in_[at_++];
    switch (c) {
      case 's': out_ += kSpace; return;
      case 'S': out_ += kNotSpace; return;
      case 'w': out_ += word(); return;
      case 'd': out_ += category("Nd"); return;
      case 'h': out_ += kHexDigit; return;
      case 'p':
      case 'P': {
        bool negated = c == 'P';
        const std::string body = property(negated);
        if (!negated) {
          out_ += body;
        } else if (body.compare(0, 2, "\\p") != 0) {
          refuse("\\P of this property in a class");
        } else {
          out_ += "\\P";
          out_ += body.substr(2, body.find('}') - 1);
        }
        return;
      }
      case 'b': out_ += "\\x{8}"; return;
      default: out_ += character_escape(c); return;
    }
  }

  // ---- groups

  void open_group() {
    if (groups_.size() >= kMaxNesting) refuse("nesting of more than 100 groups");
    const size_t start = out_.size();
    const bool outer_caseless = caseless_;
    bool assertion = false;
    if (next_is("(?")) {
      if (open_special(assertion)) return;
    } else {
      out_ += "(?:";  // nothing refers back to a capture
      ++at_;
    }
    groups_.push_back({start, outer_caseless, assertion});
    atom_ = kNone;
  }

  /// True where the group was a bare option such as (?i).
  bool open_special(bool& assertion) {
    for (const std::string_view opener : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"}) {
      if (!next_is(opener)) continue;
      assertion = opener.find_first_of("=!") != std::string_view::npos;
      out_ += opener;
      at_ += opener.size();
      return false;
    }
    const size_t end = in_.find_first_of(":)", at_);
    if (end == std::string_view::npos) refuse("'(' without ')'");
    const std::string options = option_letters(in_.substr(at_ + 2, end - at_ - 2));
    const bool bare = in_[end] == ')';
    if (bare && at_ != 0) refuse("an option in the middle of a pattern (write (?i:...))");
    out_ += fmt::format("(?{}{}", options, in_[end]);
    at_ = end + 1;
    return bare;
  }

  /// Ruby's (?m) is PCRE2's (?s).
  std::string option_letters(std::string_view letters) {
    std::string options;
    bool on = true;
    for (const char c : letters) {
      if (c == '-') {
        on = false;
      } else if (c == 'i') {
        caseless_ = on;
      } else if (c != 'm') {
        refuse(fmt::format("the group (?{}", letters.substr(0, 20)));
      }
      options += c == 'm' ? 's' : c;
    }
    if (options.empty() || std::count(options.begin(), options.end(), '-') > 1) refuse("the group (?");
    return options;
  }

  void close_group() {
    if (groups_.empty()) refuse("')' without '('");
    const Group group = groups_.back();
    groups_.pop_back();
    caseless_ = group.caseless;
    out_ += in_[at_++];
    atom_ = group.assertion ? kNone : group.out_start;
  }

  // ---- quantifiers

  void quantifier() {
    need_atom();
    out_ += in_[at_++];
    if (more() && (in_[at_] == '?' || in_[at_] == '+')) out_ += in_[at_++];
    atom_ = kNone;
  }

  void need_atom() const {
    if (atom_ == kNone) refuse("a quantifier without a character, class or group before it");
  }

  void brace() {
    const size_t close = in_.find('}', at_);
    const std::string_view body =
        close == std::string_view::npos ? std::string_view() : in_.substr(at_ + 1, close - at_ - 1);
    const bool interval = !body.empty() && body != "," && std::count(body.begin(), body.end(), ',') <= 1 &&
                          body.find_first_not_of("0123456789,") == std::string_view::npos;
    if (!interval) {
      start_atom();
      out_ += "\\{";
      ++at_;
      return;
    }
    need_atom();
    out_ += fmt::format("{{{}{}}}", body[0] == ',' ? "0" : "", body);
    at_ = close + 1;
    after_interval(body.find(',') == std::string_view::npos);
  }

  /// Ruby reads {n,m}+ as a repeated repetition, PCRE2 as a possessive one.
  void after_interval(bool exact) {
    if (next_is("?")) {
      if (exact) refuse("{n}?");
      out_ += in_[at_++];
    } else if (next_is("+")) {
      out_.insert(atom_, "(?:");
      out_ += ")+";
      ++at_;
    }
    atom_ = kNone;
  }

  static constexpr size_t kNone = static_cast<size_t>(-1);

  std::string_view in_;
  UnicodeTables tables_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = kNone;  // where in out_ the last quantifiable item starts
  bool caseless_ = false;
  std::vector<Group> groups_;
};

}  // namespace

std::string oniguruma_to_pcre2(std::string_view pattern, UnicodeTables tables) {
  return Translator(pattern, tables).run();
}

}  // namespace trident
