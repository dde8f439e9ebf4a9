#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/logical_block.h"
#include "core/dtype.h"

namespace trident {

/// What a rank holds of a logical tensor: elements [begin, begin + count), row-major, of the rectangle `part`.
struct HeldRun {
  std::string name;
  LogicalBlock whole, part;
  DType dtype = DType::fp32;
  int64_t piece = 0;  ///< the holder's own number for it
  int64_t begin = 0;
  int64_t count = 0;
};

[[nodiscard]] std::vector<int64_t> encode(std::span<const HeldRun> runs);
[[nodiscard]] std::vector<HeldRun> decode(std::span<const int64_t> words);

/// Elements that one rank sends in one message: `count` of its piece from `offset` on, which are those of `part` from
/// `begin` on.
struct Fragment {
  int rank = 0;
  int64_t piece = 0;
  int64_t offset = 0;
  int64_t count = 0;
  LogicalBlock part;
  int64_t begin = 0;
};

/// Which rank sends which element of every logical tensor: each element has one sender, the lowest rank that holds it.
class WeightTable {
 public:
  /// Ranks in ascending order.
  void add(int rank, const HeldRun& run);
  /// Throws Error(internal) naming a tensor of which some element has no holder.
  void check_complete() const;

  [[nodiscard]] const LogicalBlock& whole(const std::string& name) const { return find(name).whole; }
  [[nodiscard]] DType dtype(const std::string& name) const { return find(name).dtype; }
  /// Who sends rows [row0, row0 + rows).
  [[nodiscard]] std::vector<Fragment> fragments(const std::string& name, int64_t row0, int64_t rows) const;

 private:
  struct Source {
    int rank = 0;
    int64_t piece = 0;
    int64_t offset = 0;
    int64_t count = 0;
  };
  /// A rectangle that some ranks hold among them; those of one tensor are disjoint.
  struct Part {
    LogicalBlock block;
    std::map<int64_t, Source> sources;  ///< by first element
  };
  struct Entry {
    LogicalBlock whole;
    DType dtype = DType::fp32;
    std::vector<Part> parts;
  };

  [[nodiscard]] const Entry& find(const std::string& name) const;
  static void add_source(std::map<int64_t, Source>& sources, int64_t begin, Source source);
  static void check_part(const std::string& name, const Part& part);

  std::map<std::string, Entry> entries_;
};

}  // namespace trident
