#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/rank_file.h"
#include "checkpoint/rectangle_reader.h"
#include "checkpoint/snapshot_writer.h"
#include "parallel/comm/device_mesh.h"
#include "train/engine.h"

namespace trident {

/// A digest of what one rank holds of a tensor. Summed over the ranks, those of one copy are of the whole tensor.
struct PartialDigest {
  int32_t tensor = 0;
  int copy = 0;  ///< 0: what checkpoints keep; copies that ranks hold beside it must have the same sum
  TensorDigest digest{};
};

/// The same by tensor and copy, while it is summed.
using DigestSums = std::map<std::pair<int32_t, int>, TensorDigest>;

/// The logical tensors of a model, in the order in which checkpoints number them.
[[nodiscard]] std::vector<LogicalTensor> logical_tensors(const ModelConfig& config);

/// What a rank holds of the optimizer's state, and where every piece of it lies in the rank's snapshots: three flat
/// arrays (master weights, moments), each with what the rank's checkpoint file keeps first, then copies that other
/// ranks keep.
class SavedState {
 public:
  /// `engine` has started its optimizer, and outlives this.
  explicit SavedState(const Engine& engine);

  [[nodiscard]] const std::vector<LogicalTensor>& tensors() const { return tensors_; }
  [[nodiscard]] DType dtype() const { return dtype_; }
  /// Of the rank's checkpoint file, and the elements of each of its arrays.
  [[nodiscard]] std::vector<Segment> segments() const;
  [[nodiscard]] int64_t saved_elements() const { return saved_elements_; }
  /// Of one snapshot.
  [[nodiscard]] int64_t snapshot_bytes() const { return kStateKinds * array_bytes(); }
  /// Of everything that decides what lies where in a snapshot.
  [[nodiscard]] Hash128 layout_hash() const;

  /// From the live state to a snapshot.
  [[nodiscard]] std::vector<CopyPiece> copies() const;
  /// Whether the live state is what a snapshot holds.
  [[nodiscard]] bool equals(std::span<const std::byte> snapshot) const;
  /// The rank file's arrays, out of a snapshot that stays as it is. What is read is digested on the way, while it lies
  /// in the cache: read everything once, one piece after the other.
  [[nodiscard]] StateSource source(std::span<const std::byte> snapshot, DigestSums& sums) const;
  /// Of the whole snapshot, once its source has been read.
  [[nodiscard]] std::vector<PartialDigest> digests(std::span<const std::byte> snapshot, DigestSums sums) const;

  /// The live state becomes that of a checkpoint or of snapshots of any layout; moments that there are none of become
  /// zero. Returns the digests of what is there then. Throws what reading does.
  [[nodiscard]] std::vector<PartialDigest> load(RectangleReader& saved) const;
  /// What load() reads, in its order, where tensors are numbered as here.
  void for_each_rectangle(
      const std::function<void(StateKind kind, int tensor, const LogicalBlock& block)>& visit) const;

 private:
  struct Held {
    OwnedPiece piece;
    int32_t tensor = 0;
    int copy = 0;  // 0 and saved: in the checkpoint file
    bool saved = false;
    int64_t offset = 0;  // first element in each array
    LogicalBlock part;
    int64_t columns = 0;  // of the whole tensor
    [[nodiscard]] const Tensor& state(StateKind kind) const;
  };
  [[nodiscard]] std::span<const std::byte> in_snapshot(std::span<const std::byte> snapshot, const Held& held,
                                                       StateKind kind) const;
  /// Of elements [begin, …) of the held piece.
  void add_digest(const Held& held, StateKind kind, int64_t begin, std::span<const std::byte> bytes,
                  DigestSums& sums) const;
  [[nodiscard]] int64_t array_bytes() const { return elements_ * static_cast<int64_t>(size_of(dtype_)); }
  void place_pieces();
  /// By tensor: so a reader meets every block of a file once.
  [[nodiscard]] std::vector<const Held*> in_load_order() const;

  Stream stream_;
  std::vector<LogicalTensor> tensors_;
  DType dtype_;
  std::vector<Held> held_;
  int64_t elements_ = 0, saved_elements_ = 0;
  std::ptrdiff_t saved_pieces_ = 0;  // the first ones
};

}  // namespace trident
