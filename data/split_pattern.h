#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

namespace trident {

/// A compiled split pattern (PCRE2 with UTF, UCP and JIT). Immutable; searches from several threads are independent.
class SplitPattern {
 public:
  /// A pattern in Oniguruma's Ruby syntax, as in tokenizer.json. Throws Error with the offset of what is wrong.
  static SplitPattern regex(std::string_view pattern);
  /// The text itself; not empty.
  static SplitPattern literal(std::string_view text);

  struct Match {
    size_t begin;
    size_t end;
  };

  /// The matches in one subject, left to right and without overlap; empty ones only where no match just ended.
  class Search {
   public:
    /// `subject` must be well-formed UTF-8 and, like the pattern, outlive the search.
    Search(const SplitPattern& pattern, std::string_view subject);
    /// False at the end. Throws Error where the pattern backtracks beyond its limit.
    bool next(Match& match);

   private:
    struct Free {
      void operator()(pcre2_real_match_data_8* data) const;
    };
    bool find(size_t start, Match& match);

    const pcre2_real_code_8* code_;
    std::string_view subject_;
    size_t at_ = 0;
    size_t last_end_ = static_cast<size_t>(-1);
    std::unique_ptr<pcre2_real_match_data_8, Free> data_;
  };

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  using Code = std::unique_ptr<pcre2_real_code_8, Free>;

  SplitPattern(Code code, Code extended) : code_(std::move(code)), extended_(std::move(extended)) {}
  static Code compile(std::string_view pattern, unsigned options);

  Code code_;
  Code extended_;  // for subjects with code points newer than PCRE2's tables; null where that makes no difference
};

}  // namespace trident
