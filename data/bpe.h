#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/bpe_vocabulary.h"

namespace trident {

struct BpeOptions {
  bool ignore_merges = false;      ///< a piece that is a token is that token, whatever the merges say
  std::optional<int32_t> unknown;  ///< stands for bytes that have no token
  bool fuse_unknown = false;       ///< one `unknown` for a run of them
};

/// Byte-level byte-pair encoding of one piece: the lowest-ranked pair is merged, leftmost first, until none is left.
/// Pieces that are tokens are looked up whole; the rest take O(n log n), whatever the text.
class Bpe {
 public:
  Bpe(const BpeVocabulary& vocabulary, BpeOptions options);

  /// Appends the ids of `piece` (any bytes). Throws Error on a byte without a token where `unknown` is not set.
  void encode(std::string_view piece, std::vector<int32_t>& out) const;

 private:
  struct Merged {
    int32_t rank = -1;
    int32_t result = -1;
  };

  void merge_piece(std::string_view piece, std::vector<int32_t>& out) const;
  bool initial_symbols(std::string_view piece, std::vector<int32_t>& symbols) const;
  void merge_short(std::vector<int32_t>& symbols) const;
  void merge_long(std::vector<int32_t>& symbols) const;
  Merged find_pair(int32_t left, int32_t right) const;
  void insert_pair(const BpeMerge& merge, int32_t rank);

  std::optional<int32_t> find_whole(std::string_view piece) const;
  void insert_whole(std::string_view bytes, int32_t id);

  BpeOptions options_;
  std::array<int32_t, 256> byte_ids_{};

  // Open addressing, at most half full; an empty slot has a negative rank.
  struct Pair {
    uint64_t key = 0;
    Merged merged;
  };
  std::vector<Pair> pairs_;

  // Tokens that encode to themselves, likewise; an empty slot has a negative id.
  struct Whole {
    uint32_t hash = 0;
    int32_t id = -1;
    uint32_t begin = 0;
    uint32_t size = 0;
  };
  std::vector<Whole> whole_;
  std::string arena_;
};

}  // namespace trident
