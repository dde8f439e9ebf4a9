#include "train/config/text_file.h"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "core/error.h"

namespace trident::config {

std::string read_text_file(const std::string& path, const std::string& kind, const std::string& remedy) {
  constexpr std::size_t kReadAtMost = 1024 * 1024;
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw Error(ErrorCode::bad_data, "config", path + " is a folder, not a " + kind, remedy);
  std::ifstream in(path, std::ios::binary);
  if (!in) throw system_error(errno, "config", "cannot read " + kind + " " + path, remedy);
  std::string text(kReadAtMost, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (in.fail() && !in.eof())) throw system_error(EIO, "config", "cannot read " + kind + " " + path);
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

}  // namespace trident::config
