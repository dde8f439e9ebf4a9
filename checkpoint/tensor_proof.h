#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"

namespace trident {

/// Which tensors of a checkpoint still have the elements that the manifest's digests stand for. It is shown the rank
/// files' bytes in pieces of any order.
class TensorProof {
 public:
  /// The manifest must outlive it.
  explicit TensorProof(const Manifest& manifest);

  /// Bytes [offset, offset + bytes.size()) of rank file `file`; both are multiples of the element size but at the
  /// file's end.
  void add(size_t file, int64_t offset, std::span<const std::byte> bytes);
  /// Elements in these bytes cannot be had.
  void lose(size_t file, int64_t offset, int64_t count);

  struct State {
    int32_t tensor = 0;
    StateKind kind = StateKind::master;
    bool operator==(const State&) const = default;
  };
  /// States with elements in bytes [offset, offset + count) of a file, in that order, each once.
  [[nodiscard]] std::vector<State> states_in(size_t file, int64_t offset, int64_t count) const;
  /// Once everything was added: that no elements are lost and the digest matches.
  [[nodiscard]] bool holds(const State& state) const;
  [[nodiscard]] bool lost(const State& state) const;
  [[nodiscard]] uint64_t digest(const State& state) const;

 private:
  /// A segment's part of a byte range.
  struct Part {
    const Segment* segment = nullptr;
    StateKind kind = StateKind::master;
    int64_t first = 0;  ///< element of the segment
    int64_t count = 0;
    int64_t offset = 0;  ///< byte in the file
  };
  [[nodiscard]] std::vector<Part> parts(size_t file, int64_t offset, int64_t count) const;

  const Manifest& manifest_;
  std::vector<std::vector<const Segment*>> by_file_;  ///< each in the order of the bytes
  std::vector<TensorDigest> sums_;
  std::vector<std::array<bool, kStateKinds>> lost_;
};

}  // namespace trident
