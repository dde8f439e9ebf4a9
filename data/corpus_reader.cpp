#include "data/corpus_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

constexpr const char* component = "data/corpus_reader";
constexpr int64_t unknown_size = std::numeric_limits<int64_t>::max();

CorpusChunk::Kind kind_of(const std::string& file) {
  const bool json = file.ends_with(".jsonl") || file.ends_with(".json");
  return json ? CorpusChunk::Kind::json_lines : CorpusChunk::Kind::text;
}

int64_t size_of(const std::string& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) throw system_error(errno, component, "cannot read " + file);
  if (S_ISDIR(status.st_mode)) {
    throw Error(ErrorCode::bad_data, component, file + " is a folder",
                "name its files, for instance " + file + "/*.txt");
  }
  return S_ISREG(status.st_mode) ? static_cast<int64_t>(status.st_size) : unknown_size;
}

int open_file(const std::string& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw system_error(errno, component, "cannot open " + file);
  return fd;
}

/// Up to `bytes` bytes from the descriptor's place; fewer only at the end of the file.
size_t read_some(int fd, const std::string& file, char* out, size_t bytes) {
  size_t done = 0;
  while (done < bytes) {
    const ssize_t count = ::read(fd, out + done, bytes - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw system_error(errno, component, "cannot read " + file);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  return done;
}

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80; }
bool is_alphanumeric(char byte) {
  return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

/// Where the patterns of byte-level BPE start a new piece whatever follows or precedes: at a letter or digit that
/// starts a line after a line that ends in no space, or at a single space between two letters.
bool is_piece_start(std::string_view text, size_t i) {
  if (i < 2 || i + 1 >= text.size()) return false;
  const auto is_space = [](char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); };
  if (text[i - 1] == '\n') return is_alphanumeric(text[i]) && !is_space(text[i - 2]) && !is_continuation(text[i - 2]);
  return text[i] == ' ' && is_alphanumeric(text[i - 1]) && is_alphanumeric(text[i + 1]);
}

}  // namespace

CorpusReader::CorpusReader(Options options, CutTest can_cut)
    : options_(std::move(options)), can_cut_(std::move(can_cut)) {
  TRIDENT_CHECK(options_.chunk_bytes > 0);
  if (!(options_.validation_fraction >= 0 && options_.validation_fraction < 1)) {
    throw Error(ErrorCode::usage, component,
                fmt::format("validation fraction is {}, expected 0 up to below 1", options_.validation_fraction));
  }
  plan_segments();
}

CorpusReader::~CorpusReader() {
  if (fd_ >= 0) ::close(fd_);
}

void CorpusReader::plan_segments() {
  std::vector<int64_t> sizes;
  for (const auto& file : options_.files) {
    sizes.push_back(size_of(file));
    if (sizes.back() == unknown_size) {
      total_bytes_.reset();
    } else if (total_bytes_) {
      *total_bytes_ += sizes.back();
    }
  }
  const bool split = options_.validation_fraction > 0;
  if (split && !total_bytes_) {
    throw Error(ErrorCode::usage, component, "a validation fraction needs files whose size is known",
                "write the input to a file first");
  }
  // Bytes from here on, counted over all files, are validation.
  const auto train_bytes =
      split ? static_cast<int64_t>(static_cast<double>(*total_bytes_) * (1 - options_.validation_fraction))
            : unknown_size;
  int64_t before = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const std::string& file = options_.files[i];
    const auto kind = kind_of(file);
    const int64_t size = sizes[i];
    if (!split || before + size <= train_bytes) {
      segments_.push_back({file, kind, 0, size, false});
    } else {
      const int64_t cut = boundary_at_or_after(file, kind, std::max<int64_t>(0, train_bytes - before), size);
      if (cut > 0) segments_.push_back({file, kind, 0, cut, false});
      if (cut < size) segments_.push_back({file, kind, cut, size, true});
    }
    if (split) before += size;
  }
}

int64_t CorpusReader::boundary_at_or_after(const std::string& file, CorpusChunk::Kind kind, int64_t position,
                                           int64_t size) const {
  if (position == 0) return 0;
  const int fd = open_file(file);
  const auto at = [&](int64_t offset) {
    char byte = '\n';
    return ::pread(fd, &byte, 1, offset) == 1 ? byte : '\n';
  };
  if (kind == CorpusChunk::Kind::json_lines) {
    while (position < size && at(position - 1) != '\n') ++position;
  } else {
    for (int i = 0; i < 3 && position < size && is_continuation(at(position)); ++i) ++position;
  }
  ::close(fd);
  return position;
}

void CorpusReader::open(const Segment& segment) {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  fd_ = open_file(segment.file);
  if (segment.begin > 0 && ::lseek(fd_, segment.begin, SEEK_SET) < 0) {
    throw system_error(errno, component, "cannot seek in " + segment.file);
  }
  ::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
  position_ = segment.begin;
  taken_ = 0;
  if (segment.begin == 0) line_ = 1;  // otherwise the segment before was the start of the same file
}

/// Fills pending_ to `bytes`; false where the segment ends before.
bool CorpusReader::read_up_to(size_t bytes) {
  const Segment& segment = segments_[next_segment_ - 1];
  if (pending_.size() >= bytes) return true;
  const size_t had = pending_.size();
  const auto wanted = static_cast<size_t>(std::min(static_cast<int64_t>(bytes - had), segment.end - position_));
  pending_.resize(had + wanted);
  const size_t count = read_some(fd_, segment.file, pending_.data() + had, wanted);
  pending_.resize(had + count);
  position_ += static_cast<int64_t>(count);
  return pending_.size() >= bytes;
}

/// Length of the part of pending_ that may be given out with more to follow; 0 if none.
size_t CorpusReader::find_cut() const {
  if (segments_[next_segment_ - 1].kind == CorpusChunk::Kind::json_lines) {
    const size_t newline = pending_.rfind('\n');
    return newline == std::string::npos ? 0 : newline + 1;
  }
  if (can_cut_ == nullptr) return pending_.size();
  int tries = 0;
  for (size_t i = pending_.size(); i > pending_.size() / 2 && tries < 8; --i) {
    if (!is_piece_start(pending_, i)) continue;
    if (can_cut_(pending_, i)) return i;
    ++tries;
  }
  return 0;
}

CorpusChunk CorpusReader::take(size_t bytes, bool last) {
  const Segment& segment = segments_[next_segment_ - 1];
  CorpusChunk chunk{.kind = segment.kind,
                    .file = segment.file,
                    .bytes = pending_.substr(0, bytes),
                    .first_line = line_,
                    .begins_file = segment.begin == 0 && taken_ == 0,
                    .ends_document = last && segment.kind == CorpusChunk::Kind::text,
                    .empty_document = last && taken_ == 0 && bytes == 0,
                    .validation = segment.validation};
  pending_.erase(0, bytes);
  taken_ += static_cast<int64_t>(bytes);
  if (segment.kind == CorpusChunk::Kind::json_lines) line_ += std::count(chunk.bytes.begin(), chunk.bytes.end(), '\n');
  if (last) ::close(std::exchange(fd_, -1));
  return chunk;
}

std::optional<CorpusChunk> CorpusReader::next() {
  if (fd_ < 0) {
    if (next_segment_ == segments_.size()) return std::nullopt;
    open(segments_[next_segment_++]);
  }
  for (auto target = static_cast<size_t>(options_.chunk_bytes);; target *= 2) {
    if (!read_up_to(target)) return take(pending_.size(), true);
    if (const size_t cut = find_cut(); cut > 0) return take(cut, false);
  }
}

}  // namespace trident
