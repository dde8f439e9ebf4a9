#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace trident {

/// POSIX shared memory of a name, open: one class for the descriptor. What fails throws Error(io) naming the segment.
class SnapshotSegment {
 public:
  /// The segment of that name if it is there, is this user's, closed to all others and of exactly `bytes`; otherwise
  /// none is open and the name is free.
  [[nodiscard]] static SnapshotSegment attach(const std::string& name, size_t bytes);
  /// A new one, all zero, with memory behind every page: a full file system shows here and not at a later store.
  [[nodiscard]] static SnapshotSegment create(const std::string& name, size_t bytes);
  /// The segment of that name with the size that it has, if it is there and is this user's, closed to all others.
  /// Nothing is removed.
  [[nodiscard]] static SnapshotSegment open(const std::string& name);
  /// No failure if there is none.
  static void remove(const std::string& name);

  SnapshotSegment(SnapshotSegment&& other) noexcept;
  SnapshotSegment& operator=(SnapshotSegment&&) = delete;
  ~SnapshotSegment();

  [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }
  [[nodiscard]] size_t bytes() const { return is_open() ? bytes_ : 0; }
  /// All of it, to read and write. Outlives this object; the caller unmaps.
  enum class Touch { none, every_page };
  [[nodiscard]] std::byte* map(Touch touch = Touch::every_page) const;

 private:
  SnapshotSegment(std::string name, size_t bytes, int descriptor);
  /// Its size, if it is a file that only this user may open.
  [[nodiscard]] std::optional<size_t> own_size() const;
  /// Gives every page memory. Pages that have some keep their content.
  void reserve() const;

  std::string name_;
  size_t bytes_ = 0;
  int descriptor_ = -1;
};

}  // namespace trident
