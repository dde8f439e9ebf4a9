#include "data/split_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <string>

#include "core/error.h"
#include "data/newer_unicode.h"
#include "data/oniguruma.h"
#include "data/utf8.h"

namespace trident {
namespace {

// Far above what sane patterns need for a megabyte of spaces, and a fraction of a second of catastrophic backtracking.
constexpr uint32_t kMatchLimit = 20'000'000;
constexpr uint32_t kHeapLimitKib = 256 * 1024;

struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};

std::string message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

const pcre2_match_context* limits() {
  static const std::unique_ptr<pcre2_match_context, FreeContext> context = [] {
    std::unique_ptr<pcre2_match_context, FreeContext> created(pcre2_match_context_create(nullptr));
    TRIDENT_CHECK(created != nullptr, "out of memory");
    pcre2_set_match_limit(created.get(), kMatchLimit);
    pcre2_set_heap_limit(created.get(), kHeapLimitKib);
    return created;
  }();
  return context.get();
}

}  // namespace

void SplitPattern::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }
void SplitPattern::Search::Free::operator()(pcre2_real_match_data_8* data) const { pcre2_match_data_free(data); }

SplitPattern::Code SplitPattern::compile(std::string_view pattern, unsigned options) {
  const std::unique_ptr<pcre2_compile_context, FreeContext> context(pcre2_compile_context_create(nullptr));
  TRIDENT_CHECK(context != nullptr, "out of memory");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE offset = 0;
  Code compiled(pcre2_compile(units(pattern), pattern.size(), options | PCRE2_UTF, &code, &offset, context.get()));
  if (compiled == nullptr) {
    throw Error(ErrorCode::bad_data, "data/tokenizer",
                "split pattern " + std::string(pattern.substr(0, 200)) + ": " + message(code) + " (at byte " +
                    std::to_string(offset) + " of its PCRE2 form)",
                "correct the pattern");
  }
  pcre2_jit_compile(compiled.get(), PCRE2_JIT_COMPLETE);  // where JIT is missing the interpreter gives the same matches
  return compiled;
}

SplitPattern SplitPattern::regex(std::string_view pattern) {
  constexpr unsigned kOptions = PCRE2_UCP | PCRE2_MULTILINE;
  const std::string plain = oniguruma_to_pcre2(pattern, UnicodeTables::pcre2);
  const std::string extended = oniguruma_to_pcre2(pattern, UnicodeTables::extended);
  return {compile(plain, kOptions), extended == plain ? nullptr : compile(extended, kOptions)};
}

SplitPattern SplitPattern::literal(std::string_view text) { return {compile(text, PCRE2_LITERAL), nullptr}; }

SplitPattern::Search::Search(const SplitPattern& pattern, std::string_view subject)
    : code_(pattern.extended_ != nullptr && has_newer_code_point(subject) ? pattern.extended_.get()
                                                                          : pattern.code_.get()),
      subject_(subject),
      data_(pcre2_match_data_create(1, nullptr)) {
  TRIDENT_CHECK(data_ != nullptr, "out of memory");
}

bool SplitPattern::Search::next(Match& match) {
  while (at_ <= subject_.size()) {
    if (!find(at_, match)) {
      at_ = subject_.size() + 1;
      return false;
    }
    if (match.begin != match.end || match.end != last_end_) {
      at_ = last_end_ = match.end;
      return true;
    }
    at_ += at_ < subject_.size() ? utf8_length(subject_[at_]) : 1;
  }
  return false;
}

bool SplitPattern::Search::find(size_t start, Match& match) {
  auto* context = const_cast<pcre2_match_context*>(limits());
  int result = pcre2_match(code_, units(subject_), subject_.size(), start, PCRE2_NO_UTF_CHECK, data_.get(), context);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter's heap is larger than JIT's stack
    result = pcre2_match(code_, units(subject_), subject_.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data_.get(),
                         context);
  }
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0) {
    throw Error(ErrorCode::bad_data, "data/tokenizer",
                "the split pattern fails at byte " + std::to_string(start) + " of a text of " +
                    std::to_string(subject_.size()) + " bytes: " + message(result),
                "the tokenizer's pattern backtracks too much for this text; simplify it");
  }
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data_.get());
  match = {offsets[0], offsets[1]};
  return true;
}

}  // namespace trident
