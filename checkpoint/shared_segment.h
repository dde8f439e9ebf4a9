#pragma once

#include <cstddef>
#include <string>

namespace trident {

/// POSIX shared memory of a name, open: one class for the descriptor. What fails throws Error(io) naming the segment.
class SharedSegment {
 public:
  /// The segment of that name if it is there, is this user's, closed to all others and of exactly `bytes`; otherwise
  /// none is open and the name is free.
  [[nodiscard]] static SharedSegment attach(const std::string& name, size_t bytes);
  /// A new one, all zero, with memory behind every page: a full file system shows here and not at a later store.
  [[nodiscard]] static SharedSegment create(const std::string& name, size_t bytes);
  /// No failure if there is none.
  static void remove(const std::string& name);

  SharedSegment(SharedSegment&& other) noexcept;
  SharedSegment& operator=(SharedSegment&&) = delete;
  ~SharedSegment();

  [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }
  /// All of it, to read and write, every page touched. Outlives this object; the caller unmaps.
  [[nodiscard]] std::byte* map() const;

 private:
  SharedSegment(std::string name, size_t bytes, int descriptor);
  /// Gives every page memory. Pages that have some keep their content.
  void reserve() const;

  std::string name_;
  size_t bytes_ = 0;
  int descriptor_ = -1;
};

}  // namespace trident
