#pragma once

#include <memory>

#include "data/tokenizer.h"

namespace trident {

/// The tokenizer without a file: byte b has id b, 256 ids in all.
std::unique_ptr<Tokenizer> make_byte_tokenizer();

}  // namespace trident
