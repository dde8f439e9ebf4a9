#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace trident {

/// How one token is stored in a .bin file; the values are the codes of Megatron's index. Always little-endian.
enum class TokenDType : uint8_t { uint8 = 1, int8 = 2, int16 = 3, int32 = 4, int64 = 5, uint16 = 8 };

/// The dtype of an index's code byte; empty for codes that Megatron does not define and for its floating types.
std::optional<TokenDType> token_dtype_from_code(uint8_t code);

int64_t token_dtype_size(TokenDType dtype);
std::string_view token_dtype_name(TokenDType dtype);

/// What Megatron's preprocessing picks: uint16 below a vocabulary of 65,500, else int32.
TokenDType optimal_token_dtype(int64_t vocab_size);

}  // namespace trident
