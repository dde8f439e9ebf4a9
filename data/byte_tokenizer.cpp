#include "data/byte_tokenizer.h"

#include "core/error.h"
#include "data/digest.h"

namespace trident {
namespace {

class ByteTokenizer final : public Tokenizer {
 public:
  std::string_view kind() const override { return "byte"; }
  int64_t vocab_size() const override { return 256; }

  void encode_append(std::string_view text, std::vector<int32_t>& out) const override {
    out.reserve(out.size() + text.size());
    for (const char c : text) out.push_back(static_cast<unsigned char>(c));
  }

  std::string decode(std::span<const int32_t> ids) const override {
    std::string text;
    text.reserve(ids.size());
    for (const int32_t id : ids) {
      if (id < 0 || id > 255) {
        throw Error(ErrorCode::bad_data, "data/tokenizer",
                    "id " + std::to_string(id) + " is not a byte (0 to 255 expected)",
                    "decode with the tokenizer that made the ids");
      }
      text.push_back(static_cast<char>(id));
    }
    return text;
  }

  std::string hash() const override { return Digest().add("byte").hex(); }
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_tokenizer() { return std::make_unique<ByteTokenizer>(); }

}  // namespace trident
