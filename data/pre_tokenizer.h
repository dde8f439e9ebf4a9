#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/split_pattern.h"

namespace trident {

/// What becomes of the matches of a split pattern; the names are those of Hugging Face's tokenizers.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// Cuts text into the pieces that byte-pair merges never cross: a chain of splits, each applied to the pieces of the
/// one before, with the change from characters to bytes ("ByteLevel") somewhere among them.
class PreTokenizer {
 public:
  using Sink = std::function<void(std::string_view)>;

  /// GPT-2's own pattern, the default of ByteLevel.
  static constexpr std::string_view kGpt2Pattern =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

  enum class Matches { split, keep };  ///< `keep` inverts: what matches stays, what lies between is the delimiter

  void add_split(SplitPattern pattern, SplitBehavior behavior, Matches matches = Matches::split);
  /// A space goes in front of every piece that lacks one.
  void add_prefix_space();
  /// Later splits see the byte alphabet's letters instead of the text.
  void add_byte_alphabet() { byte_alphabet_ = true; }

  /// Hands the pieces of `text` (well-formed UTF-8) to `sink` in order; a piece is valid only during that call.
  void split(std::string_view text, const Sink& sink) const { run(0, text, sink); }

 private:
  struct Step {
    std::vector<SplitPattern> pattern;  // one, or none for the prefix space
    SplitBehavior behavior = SplitBehavior::isolated;
    bool inverted = false;
    bool in_alphabet = false;
  };

  void run(size_t index, std::string_view text, const Sink& sink) const;

  std::vector<Step> steps_;
  bool byte_alphabet_ = false;
};

}  // namespace trident
