#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trident {

/// A piece of the corpus that can be encoded on its own.
struct CorpusChunk {
  enum class Kind { text, json_lines };
  Kind kind = Kind::text;
  std::string file{};
  std::string bytes{};          ///< part of one document, or whole lines
  int64_t first_line = 1;       ///< json_lines: the file's line that `bytes` starts with
  bool begins_file = true;      ///< `bytes` is the very start of the file
  bool ends_document = false;   ///< text only: the document ends with these bytes
  bool empty_document = false;  ///< text only: that document has no bytes at all
  bool validation = false;      ///< belongs to the last part of the corpus, set aside
};

/// Streams files in order, in chunks of about `chunk_bytes`. A file is one document of plain text, or, if its name ends
/// in .jsonl or .json, one JSON object per line. Memory is a chunk, unless a document cannot be cut.
class CorpusReader {
 public:
  struct Options {
    std::vector<std::string> files{};
    int64_t chunk_bytes = int64_t{1} << 20;
    /// The last fraction of all bytes is set aside: from the next line of a JSONL file or character of a text on.
    double validation_fraction = 0;
  };
  /// Whether encoding `text` in two parts, cut at `position`, gives the ids of the whole.
  using CutTest = std::function<bool(std::string_view text, size_t position)>;

  /// Throws Error where a file is missing or the fraction is not in [0, 1).
  CorpusReader(Options options, CutTest can_cut);
  ~CorpusReader();
  CorpusReader(const CorpusReader&) = delete;
  CorpusReader& operator=(const CorpusReader&) = delete;

  /// The next chunk, or nothing at the end. Throws Error where reading fails.
  std::optional<CorpusChunk> next();

  /// Bytes of all files; empty if one is a pipe.
  std::optional<int64_t> total_bytes() const { return total_bytes_; }

 private:
  struct Segment {  // part of one file that goes to one output
    std::string file;
    CorpusChunk::Kind kind;
    int64_t begin;
    int64_t end;
    bool validation;
  };
  void plan_segments();
  int64_t boundary_at_or_after(const std::string& file, CorpusChunk::Kind kind, int64_t position, int64_t size) const;
  void open(const Segment& segment);
  bool read_up_to(size_t bytes);
  size_t find_cut() const;
  CorpusChunk take(size_t bytes, bool last);

  Options options_;
  CutTest can_cut_;
  std::vector<Segment> segments_;
  std::optional<int64_t> total_bytes_ = 0;

  size_t next_segment_ = 0;  // the open one is the one before
  int fd_ = -1;
  int64_t position_ = 0;  // in the open file, of the next byte to read
  int64_t taken_ = 0;     // bytes of the open segment given out
  int64_t line_ = 1;
  std::string pending_;  // read but not given out
};

}  // namespace trident
