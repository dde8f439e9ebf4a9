#include "data/text_file.h"

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "core/error.h"

namespace trident {

std::string read_text_file(const std::string& path, uint64_t limit) {
  std::error_code failure;
  const uint64_t size = std::filesystem::file_size(path, failure);
  if (failure) throw system_error(failure.value(), "data/tokenizer", path, "name an existing, regular file");
  if (size > limit) {
    throw Error(ErrorCode::bad_data, "data/tokenizer",
                path + ": " + std::to_string(size) + " bytes, at most " + std::to_string(limit) + " expected",
                "check that this is a tokenizer's file");
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  if (!file || !file.read(text.data(), static_cast<std::streamsize>(size))) {
    throw system_error(errno != 0 ? errno : EIO, "data/tokenizer", path + ": cannot read", "check its permissions");
  }
  return text;
}

}  // namespace trident
