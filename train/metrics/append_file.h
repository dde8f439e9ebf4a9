#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace trident {

/// A file that only grows, one whole record a write (O_APPEND), so that several processes may append to it.
/// A record is in the page cache when `append` returns and survives the death of this process.
/// `append` never throws: a full disk is warned of once, records wait in memory (up to a limit) and are written when
/// there is room again; what did not fit is counted.
class AppendFile {
 public:
  /// Creates or opens `path`. Throws Error where that is impossible.
  explicit AppendFile(const std::filesystem::path& path);
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&&) = delete;
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;
  ~AppendFile();

  void append(std::string_view record) noexcept;

  std::int64_t lost_records() const { return lost_; }
  std::size_t waiting_bytes() const { return waiting_.size(); }
  static constexpr std::size_t waiting_limit = std::size_t{4} << 20U;

 private:
  bool write_all(std::string_view bytes, std::size_t& written) noexcept;
  void warn_once(int error) noexcept;

  std::string path_;
  int descriptor_ = -1;
  std::string waiting_;
  std::int64_t lost_ = 0;
  bool warned_ = false;
};

/// Cuts a last line without its newline off, which a process left that died while writing. A missing file is fine.
void truncate_torn_line(const std::filesystem::path& path);

/// Calls `use` with every complete line of the file. Lines longer than 1 MiB are passed over; returns how many.
/// What is no regular file has no lines.
std::int64_t for_each_line(const std::filesystem::path& path, const std::function<void(std::string_view)>& use);

}  // namespace trident
