#pragma once

#include <string>
#include <utility>
#include <vector>

#include "parallel/comm/shared_group.h"

namespace trident {

/// One collective call in a SharedGroup: arrive, then a fixed number of steps.
class SharedOperation final : public Operation {
 public:
  SharedOperation(SharedGroup& group, CollectiveCall call);
  bool advance() override;
  [[nodiscard]] std::string waiting_for() const override;

 private:
  enum class Way {
    none,    ///< nothing to move
    whole,   ///< small: all of it lies in staging memory when a rank arrives
    direct,  ///< in the buffers themselves
    staged,  ///< through staging memory, chunk by chunk
  };
  /// Elements [begin, begin + count) of the buffer, or of every part of it.
  struct Range {
    int64_t begin = 0;
    int64_t count = 0;
  };

  void publish();
  void plan();
  [[nodiscard]] Way agreed_way(bool& all_came_in) const;
  void work(int64_t step);

  [[nodiscard]] bool has_parts() const;
  [[nodiscard]] bool results_are_staged() const;
  [[nodiscard]] bool gives() const;
  [[nodiscard]] int64_t sent_bytes() const;
  [[nodiscard]] int64_t longest_part() const;
  [[nodiscard]] Range chunk(int64_t index) const;
  [[nodiscard]] Range slice(int rank, int64_t count) const;
  [[nodiscard]] std::byte* stage(int rank, int64_t index) const;

  void copy_in(int64_t index);
  void consume(int64_t index);
  void copy_out(int64_t index);
  void exchange(int64_t index, Range range);
  void reduce_everything();
  void reduce_slice_in_place();
  void reduce_slice_of_stage(int64_t index, Range range);
  /// Where this rank finds what `peer` gives to it.
  [[nodiscard]] std::byte* given(int peer, int64_t index, Range range) const;
  [[nodiscard]] std::byte* peer_buffer(int peer) const;
  [[nodiscard]] Range part_from(int peer) const;

  SharedGroup& group_;
  CollectiveCall call_;
  int64_t size_;            // of an element, in bytes
  int64_t chunk_elements_;  // of the buffer, or of every part
  int64_t chunks_ = 0;
  uint64_t first_chunk_;
  uint64_t number_;  // among those that the group has started
  uint64_t ticket_ = 0;
  Way way_ = Way::none;
  bool came_in_ = false;  // chunk 0 was staged on arrival
  bool arrived_ = false;
  int64_t step_ = 0;
  int64_t end_ = 0;
};

}  // namespace trident
