#include "train/weight_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "train/word_stream.h"

namespace trident {
namespace {

void put(WordWriter& writer, const LogicalBlock& block) {
  for (const int64_t number : {block.row0, block.rows, block.column0, block.columns}) writer.put(number);
}

LogicalBlock take_block(WordReader& reader) {
  LogicalBlock block;
  for (int64_t* number : {&block.row0, &block.rows, &block.column0, &block.columns}) *number = reader.number();
  return block;
}

bool overlap(const LogicalBlock& a, const LogicalBlock& b) {
  return a.row0 < b.row0 + b.rows && b.row0 < a.row0 + a.rows && a.column0 < b.column0 + b.columns &&
         b.column0 < a.column0 + a.columns;
}

bool inside(const LogicalBlock& a, const LogicalBlock& b) {
  return a.row0 >= b.row0 && a.row0 + a.rows <= b.row0 + b.rows && a.column0 >= b.column0 &&
         a.column0 + a.columns <= b.column0 + b.columns;
}

}  // namespace

std::vector<int64_t> encode(std::span<const HeldRun> runs) {
  WordWriter writer;
  for (const HeldRun& run : runs) {
    writer.put(run.name);
    put(writer, run.whole);
    put(writer, run.part);
    writer.put(static_cast<int64_t>(run.dtype));
    for (const int64_t number : {run.piece, run.begin, run.count}) writer.put(number);
  }
  return writer.words();
}

std::vector<HeldRun> decode(std::span<const int64_t> words) {
  std::vector<HeldRun> runs;
  for (WordReader reader(words); !reader.at_end();) {
    HeldRun& run = runs.emplace_back();
    run.name = reader.text();
    run.whole = take_block(reader);
    run.part = take_block(reader);
    run.dtype = static_cast<DType>(reader.number());
    for (int64_t* number : {&run.piece, &run.begin, &run.count}) *number = reader.number();
  }
  return runs;
}

void WeightTable::add(int rank, const HeldRun& run) {
  Entry& entry = entries_.try_emplace(run.name, Entry{run.whole, run.dtype, {}}).first->second;
  TRIDENT_CHECK(entry.whole == run.whole && entry.dtype == run.dtype, "ranks differ in " + run.name);
  TRIDENT_CHECK(inside(run.part, run.whole) && run.begin >= 0 && run.begin + run.count <= run.part.elements(),
                run.name);
  auto part = std::find_if(entry.parts.begin(), entry.parts.end(), [&](const Part& p) { return p.block == run.part; });
  if (part == entry.parts.end()) {
    for (const Part& other : entry.parts)
      TRIDENT_CHECK(!overlap(other.block, run.part), "parts of " + run.name + " overlap");
    part = entry.parts.insert(part, Part{run.part, {}});
  }
  add_source(part->sources, run.begin, {rank, run.piece, 0, run.count});
}

// Adds what no earlier source has: `source` fills the gaps.
void WeightTable::add_source(std::map<int64_t, Source>& sources, int64_t begin, Source source) {
  const int64_t end = begin + source.count;
  int64_t at = begin;
  auto next = sources.upper_bound(at);
  if (next != sources.begin()) at = std::max(at, std::prev(next)->first + std::prev(next)->second.count);
  while (at < end) {
    const int64_t gap_end = next == sources.end() ? end : std::min(end, next->first);
    if (at < gap_end) sources.emplace_hint(next, at, Source{source.rank, source.piece, at - begin, gap_end - at});
    if (next == sources.end()) break;
    at = std::max(at, next->first + next->second.count);
    ++next;
  }
}

void WeightTable::check_complete() const {
  for (const auto& [name, entry] : entries_) {
    int64_t elements = 0;
    for (const Part& part : entry.parts) {
      check_part(name, part);
      elements += part.block.elements();
    }
    TRIDENT_CHECK(elements == entry.whole.elements(),
                  fmt::format("of {} elements of {} the ranks hold {}", entry.whole.elements(), name, elements));
  }
}

void WeightTable::check_part(const std::string& name, const Part& part) {
  int64_t at = 0;
  for (const auto& [begin, source] : part.sources) {
    TRIDENT_CHECK(begin == at, fmt::format("no rank holds element {} of the part of {} from row {}, column {}", at,
                                           name, part.block.row0, part.block.column0));
    at += source.count;
  }
  TRIDENT_CHECK(at == part.block.elements(),
                fmt::format("no rank holds element {} of the part of {} from row {}, column {}", at, name,
                            part.block.row0, part.block.column0));
}

std::vector<Fragment> WeightTable::fragments(const std::string& name, int64_t row0, int64_t rows) const {
  const Entry& entry = find(name);
  TRIDENT_CHECK(row0 >= 0 && rows >= 0 && row0 + rows <= entry.whole.rows, name);
  std::vector<Fragment> fragments;
  for (const Part& part : entry.parts) {
    const LogicalBlock& block = part.block;
    const int64_t begin = (std::max(row0, block.row0) - block.row0) * block.columns;
    const int64_t end = (std::min(row0 + rows, block.row0 + block.rows) - block.row0) * block.columns;
    if (begin >= end) continue;
    for (auto it = std::prev(part.sources.upper_bound(begin)); it != part.sources.end() && it->first < end; ++it) {
      const auto& [first, source] = *it;
      const int64_t from = std::max(begin, first), to = std::min(end, first + source.count);
      fragments.push_back({source.rank, source.piece, source.offset + from - first, to - from, block, from});
    }
  }
  return fragments;
}

const WeightTable::Entry& WeightTable::find(const std::string& name) const {
  const auto found = entries_.find(name);
  TRIDENT_CHECK(found != entries_.end(), "no rank holds " + name);
  return found->second;
}

}  // namespace trident
