#include "data/token_dtype.h"

namespace trident {

std::optional<TokenDType> token_dtype_from_code(uint8_t code) {
  switch (static_cast<TokenDType>(code)) {
    case TokenDType::uint8:
    case TokenDType::int8:
    case TokenDType::int16:
    case TokenDType::int32:
    case TokenDType::int64:
    case TokenDType::uint16: return static_cast<TokenDType>(code);
  }
  return std::nullopt;
}

int64_t token_dtype_size(TokenDType dtype) {
  switch (dtype) {
    case TokenDType::uint8:
    case TokenDType::int8: return 1;
    case TokenDType::int16:
    case TokenDType::uint16: return 2;
    case TokenDType::int32: return 4;
    case TokenDType::int64: return 8;
  }
  return 0;
}

std::string_view token_dtype_name(TokenDType dtype) {
  switch (dtype) {
    case TokenDType::uint8: return "uint8";
    case TokenDType::int8: return "int8";
    case TokenDType::int16: return "int16";
    case TokenDType::int32: return "int32";
    case TokenDType::int64: return "int64";
    case TokenDType::uint16: return "uint16";
  }
  return "unknown";
}

TokenDType optimal_token_dtype(int64_t vocab_size) {
  return vocab_size < 65500 ? TokenDType::uint16 : TokenDType::int32;
}

}  // namespace trident
