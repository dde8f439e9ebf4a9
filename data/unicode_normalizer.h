#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trident {

enum class NormalForm { nfc, nfd, nfkc, nfkd };

/// The Unicode normal forms that a tokenizer.json asks for, applied in order. Usually none, or NFC.
class UnicodeNormalizer {
 public:
  void add(NormalForm form) { forms_.push_back(form); }
  bool empty() const { return forms_.empty(); }
  const std::vector<NormalForm>& forms() const { return forms_; }

  /// `text` in normal form; `text` is well-formed UTF-8. Where it is so already the result is `text` itself,
  /// otherwise it lies in `buffer`.
  std::string_view apply(std::string_view text, std::string& buffer) const;

 private:
  std::vector<NormalForm> forms_;
};

}  // namespace trident
