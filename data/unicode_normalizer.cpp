#include "data/unicode_normalizer.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <cstdint>

#include "core/error.h"

namespace trident {
namespace {

constexpr size_t kWindow = size_t{1} << 28;  // ICU counts in int32

const icu::Normalizer2& complete_form(NormalForm form) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* found = nullptr;
  switch (form) {
    case NormalForm::nfc: found = icu::Normalizer2::getNFCInstance(status); break;
    case NormalForm::nfd: found = icu::Normalizer2::getNFDInstance(status); break;
    case NormalForm::nfkc: found = icu::Normalizer2::getNFKCInstance(status); break;
    case NormalForm::nfkd: found = icu::Normalizer2::getNFKDInstance(status); break;
  }
  TRIDENT_CHECK(U_SUCCESS(status) && found != nullptr, "ICU lacks its normalization data");
  return *found;
}

/// Hugging Face's normalizers know Unicode 9: what is newer is neither decomposed nor reordered.
const icu::UnicodeSet& known_characters() {
  static const icu::UnicodeSet set = [] {
    UErrorCode status = U_ZERO_ERROR;
    icu::UnicodeSet known(icu::UnicodeString("[:Age=9.0:]"), status);
    TRIDENT_CHECK(U_SUCCESS(status), u_errorName(status));
    known.freeze();
    return known;
  }();
  return set;
}

/// End of the next window: everything, or up to an ASCII character, before which every form has a boundary.
size_t window_end(std::string_view text, size_t start) {
  if (text.size() - start <= kWindow) return text.size();
  for (size_t end = start + kWindow; end > start; --end) {
    if (static_cast<unsigned char>(text[end]) < 0x80) return end;
  }
  throw Error(ErrorCode::bad_data, "data/tokenizer", "256 MiB of text without one ASCII character to normalize",
              "split the document");
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

void append_normalized(const icu::Normalizer2& normalizer, std::string_view text, std::string& out) {
  for (size_t start = 0; start < text.size();) {
    const size_t end = window_end(text, start);
    icu::StringByteSink<std::string> sink(&out);
    UErrorCode status = U_ZERO_ERROR;
    normalizer.normalizeUTF8(0, {text.data() + start, static_cast<int32_t>(end - start)}, sink, nullptr, status);
    TRIDENT_CHECK(U_SUCCESS(status), u_errorName(status));
    start = end;
  }
}

}  // namespace

std::string_view UnicodeNormalizer::apply(std::string_view text, std::string& buffer) const {
  if (forms_.empty() || is_ascii(text)) return text;
  for (const NormalForm form : forms_) {
    std::string normalized;
    normalized.reserve(text.size());
    append_normalized(icu::FilteredNormalizer2(complete_form(form), known_characters()), text, normalized);
    buffer = std::move(normalized);
    text = buffer;
  }
  return text;
}

}  // namespace trident
