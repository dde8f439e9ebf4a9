#include "data/bpe.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <queue>

#include "core/error.h"
#include "data/byte_alphabet.h"

namespace trident {
namespace {

constexpr size_t kShort = 48;  // up to here a scan for the lowest rank beats a heap
constexpr size_t kKeptCapacity = 4096;
constexpr size_t kMaxPiece = (size_t{1} << 31) - 1;

uint64_t pair_key(int32_t left, int32_t right) {
  return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
}

size_t pair_slot(uint64_t key, size_t mask) { return static_cast<size_t>((key * 0x9e3779b97f4a7c15ULL) >> 32) & mask; }

size_t table_size(size_t entries) { return std::bit_ceil(2 * entries + 2); }

}  // namespace

Bpe::Bpe(const BpeVocabulary& vocabulary, BpeOptions options)
    : options_(options), pairs_(table_size(vocabulary.merges().size())), whole_(table_size(vocabulary.token_count())) {
  for (size_t byte = 0; byte < 256; ++byte) {
    const char letter = static_cast<char>(byte);
    byte_ids_[byte] = vocabulary.find(to_byte_alphabet({&letter, 1})).value_or(-1);
  }
  for (size_t rank = 0; rank < vocabulary.merges().size(); ++rank) {
    insert_pair(vocabulary.merges()[rank], static_cast<int32_t>(rank));
  }
  std::vector<int32_t> symbols;
  for (size_t id = 0; id < vocabulary.tokens().size(); ++id) {
    const auto bytes = from_byte_alphabet(vocabulary.tokens()[id]);
    if (!bytes || bytes->empty()) continue;
    symbols.clear();
    bool itself = options_.ignore_merges;
    if (!itself && initial_symbols(*bytes, symbols)) {
      bytes->size() <= kShort ? merge_short(symbols) : merge_long(symbols);
      itself = symbols.size() == 1 && symbols[0] == static_cast<int32_t>(id);
    }
    if (itself) insert_whole(*bytes, static_cast<int32_t>(id));
  }
}

void Bpe::encode(std::string_view piece, std::vector<int32_t>& out) const {
  if (const auto id = find_whole(piece)) {
    out.push_back(*id);
  } else {
    merge_piece(piece, out);
  }
}

void Bpe::merge_piece(std::string_view piece, std::vector<int32_t>& out) const {
  if (piece.size() > kMaxPiece) {
    throw Error(ErrorCode::bad_data, "data/tokenizer", "a piece of more than 2 GiB without a place to split",
                "split the document");
  }
  thread_local std::vector<int32_t> symbols;
  symbols.clear();
  if (!initial_symbols(piece, symbols)) {
    const auto missing =
        std::find_if(piece.begin(), piece.end(), [&](char c) { return byte_ids_[static_cast<unsigned char>(c)] < 0; });
    throw Error(ErrorCode::bad_data, "data/tokenizer",
                fmt::format("byte 0x{:02x} has no token and the vocabulary names no unk_token",
                            static_cast<unsigned char>(*missing)),
                "train the tokenizer with all 256 bytes (initial_alphabet) or set unk_token");
  }
  symbols.size() <= kShort ? merge_short(symbols) : merge_long(symbols);
  out.insert(out.end(), symbols.begin(), symbols.end());
  if (symbols.capacity() > kKeptCapacity) std::vector<int32_t>().swap(symbols);
}

bool Bpe::initial_symbols(std::string_view piece, std::vector<int32_t>& symbols) const {
  symbols.reserve(piece.size());
  bool after_unknown = false;
  for (const char c : piece) {
    const int32_t id = byte_ids_[static_cast<unsigned char>(c)];
    if (id < 0 && !options_.unknown) return false;
    if (id >= 0) {
      symbols.push_back(id);
    } else if (!after_unknown || !options_.fuse_unknown) {
      symbols.push_back(*options_.unknown);
    }
    after_unknown = id < 0;
  }
  return true;
}

/// Repeated scans for the lowest rank: quadratic, but for a few dozen symbols in one cache line or two.
void Bpe::merge_short(std::vector<int32_t>& symbols) const {
  std::array<Merged, kShort> pairs;
  size_t count = symbols.size();
  for (size_t i = 0; i + 1 < count; ++i) pairs[i] = find_pair(symbols[i], symbols[i + 1]);
  while (count > 1) {
    size_t best = count;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (pairs[i].rank >= 0 && (best == count || pairs[i].rank < pairs[best].rank)) best = i;
    }
    if (best == count) break;
    symbols[best] = pairs[best].result;
    for (size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      pairs[i] = pairs[i + 1];
    }
    --count;
    if (best + 1 < count) pairs[best] = find_pair(symbols[best], symbols[best + 1]);
    if (best > 0) pairs[best - 1] = find_pair(symbols[best - 1], symbols[best]);
  }
  symbols.resize(count);
}

/// A heap of candidate pairs over a linked list of symbols; outdated candidates are dropped when they surface.
void Bpe::merge_long(std::vector<int32_t>& symbols) const {
  struct Candidate {
    int32_t rank;
    int32_t at;
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };
  const auto count = static_cast<int32_t>(symbols.size());
  std::vector<int32_t> next(symbols.size());
  std::vector<int32_t> previous(symbols.size());
  std::vector<Candidate> found;
  const auto symbol = [&](int32_t at) -> int32_t& { return symbols[static_cast<size_t>(at)]; };
  const auto after = [&](int32_t at) -> int32_t& { return next[static_cast<size_t>(at)]; };
  const auto before = [&](int32_t at) -> int32_t& { return previous[static_cast<size_t>(at)]; };
  for (int32_t i = 0; i < count; ++i) {
    after(i) = i + 1;
    before(i) = i - 1;
    const int32_t rank = i + 1 < count ? find_pair(symbol(i), symbol(i + 1)).rank : -1;
    if (rank >= 0) found.push_back({rank, i});
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap({}, std::move(found));
  const auto consider = [&](int32_t at) {
    if (at < 0 || after(at) >= count) return;
    const Merged merged = find_pair(symbol(at), symbol(after(at)));
    if (merged.rank >= 0) heap.push({merged.rank, at});
  };
  while (!heap.empty()) {
    const Candidate top = heap.top();
    heap.pop();
    if (symbol(top.at) < 0 || after(top.at) >= count) continue;
    const int32_t right = after(top.at);
    const Merged merged = find_pair(symbol(top.at), symbol(right));
    if (merged.rank != top.rank) continue;
    symbol(top.at) = merged.result;
    symbol(right) = -1;
    after(top.at) = after(right);
    if (after(right) < count) before(after(right)) = top.at;
    consider(top.at);
    consider(before(top.at));
  }
  symbols.erase(std::remove(symbols.begin(), symbols.end(), -1), symbols.end());
}

Bpe::Merged Bpe::find_pair(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  const size_t mask = pairs_.size() - 1;
  for (size_t slot = pair_slot(key, mask);; slot = (slot + 1) & mask) {
    const Pair& pair = pairs_[slot];
    if (pair.merged.rank < 0 || pair.key == key) return pair.merged;
  }
}

/// A pair that is listed twice keeps its last rank, as in the public tokenizers.
void Bpe::insert_pair(const BpeMerge& merge, int32_t rank) {
  const uint64_t key = pair_key(merge.left, merge.right);
  const size_t mask = pairs_.size() - 1;
  size_t slot = pair_slot(key, mask);
  while (pairs_[slot].merged.rank >= 0 && pairs_[slot].key != key) slot = (slot + 1) & mask;
  pairs_[slot] = {key, {rank, merge.result}};
}

std::optional<int32_t> Bpe::find_whole(std::string_view piece) const {
  const auto hash = static_cast<uint32_t>(XXH3_64bits(piece.data(), piece.size()));
  const size_t mask = whole_.size() - 1;
  for (size_t slot = hash & mask;; slot = (slot + 1) & mask) {
    const Whole& whole = whole_[slot];
    if (whole.id < 0) return std::nullopt;
    if (whole.hash == hash && std::string_view(arena_).substr(whole.begin, whole.size) == piece) return whole.id;
  }
}

void Bpe::insert_whole(std::string_view bytes, int32_t id) {
  const auto hash = static_cast<uint32_t>(XXH3_64bits(bytes.data(), bytes.size()));
  const size_t mask = whole_.size() - 1;
  size_t slot = hash & mask;
  while (whole_[slot].id >= 0) slot = (slot + 1) & mask;
  whole_[slot] = {hash, id, static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(bytes.size())};
  arena_ += bytes;
}

}  // namespace trident
