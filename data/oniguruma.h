#pragma once

#include <string>
#include <string_view>

namespace trident {

enum class UnicodeTables { pcre2, extended };

/// Rewrites a split pattern from Oniguruma's Ruby syntax, which tokenizer.json is written in, to PCRE2's
/// (UTF | UCP | MULTILINE). Both spell most things alike; this keeps the meaning of what they do not:
/// \s, \w, \b and \h, multi-line ^ and $, (?m), {n,m}+, {,m} and scripts such as \p{Han}.
/// `extended` also adds the code points of newer_unicode.h to general categories.
/// Throws Error(bad_data) that names the construct where it has no faithful PCRE2 form.
std::string oniguruma_to_pcre2(std::string_view pattern, UnicodeTables tables);

}  // namespace trident
