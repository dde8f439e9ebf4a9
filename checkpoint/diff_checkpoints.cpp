#include "checkpoint/diff_checkpoints.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "core/dtype.h"

namespace trident {
namespace {

constexpr int64_t kElementsAtOnce = int64_t{1} << 20;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Sums over the pairs of elements.
struct Comparison {
  int64_t elements = 0;
  double largest = 0;
  double difference_squares = 0;
  double squares = 0;

  void add(double a, double b) {
    ++elements;
    // Zeros of both signs, infinities and NaN of the same value are no distance apart.
    const bool alike = a == b || (std::isnan(a) && std::isnan(b));
    const double distance = alike ? 0 : std::isfinite(a) && std::isfinite(b) ? std::abs(a - b) : kInfinity;
    largest = std::max(largest, distance);
    difference_squares += distance * distance;
  }
  [[nodiscard]] double relative_norm() const {
    if (difference_squares == 0) return 0;
    return squares == 0 || std::isinf(difference_squares) ? kInfinity : std::sqrt(difference_squares / squares);
  }
};

/// Cuts a tensor into rectangles of at most kElementsAtOnce elements, in order.
template <class Visit>
void for_each_part(const LogicalBlock& whole, const Visit& visit) {
  const int64_t width = std::clamp<int64_t>(whole.columns, 1, kElementsAtOnce);
  const int64_t height = std::max<int64_t>(1, kElementsAtOnce / width);
  for (int64_t row = 0; row < whole.rows; row += height)
    for (int64_t column = 0; column < whole.columns; column += width)
      visit(LogicalBlock{row, std::min(height, whole.rows - row), column, std::min(width, whole.columns - column)});
}

class Differ {
 public:
  Differ(CheckpointReader& a, CheckpointReader& b) : a_(a), b_(b) {}

  std::vector<TensorDifference> run() {
    for (const LogicalTensor& tensor : a_.manifest().tensors) {
      if (const int in_b = b_.find(tensor.name); in_b >= 0)
        compare(a_.find(tensor.name), in_b);
      else
        report_alone(tensor.name, a_);
    }
    for (const LogicalTensor& tensor : b_.manifest().tensors)
      if (a_.find(tensor.name) < 0) report_alone(tensor.name, b_);
    return std::move(differences_);
  }

 private:
  void report(const std::string& tensor, StateKind kind, std::string detail) {
    differences_.push_back({tensor, kind, std::move(detail)});
  }
  void report_alone(const std::string& tensor, const CheckpointReader& where) {
    report(tensor, StateKind::master, "only in " + where.folder().string());
  }

  void compare(int in_a, int in_b) {
    const LogicalTensor& tensor = a_.manifest().tensors[static_cast<size_t>(in_a)];
    const Shape& other = b_.manifest().tensors[static_cast<size_t>(in_b)].shape;
    if (tensor.shape != other)
      return report(tensor.name, StateKind::master,
                    fmt::format("shapes {} and {}", tensor.shape.to_string(), other.to_string()));
    for (int i = 0; i < std::max(a_.manifest().states(), b_.manifest().states()); ++i) {
      const auto kind = static_cast<StateKind>(i);
      if (i >= a_.manifest().states() || i >= b_.manifest().states())
        report(tensor.name, kind, "only in " + (i >= b_.manifest().states() ? a_ : b_).folder().string());
      else
        compare_state(kind, in_a, in_b);
    }
  }

  void compare_state(StateKind kind, int in_a, int in_b) {
    const bool same_type = a_.manifest().dtype == b_.manifest().dtype;
    const auto digest = [&](CheckpointReader& reader, int tensor) {
      return reader.manifest().digests[static_cast<size_t>(tensor)][static_cast<size_t>(kind)];
    };
    if (same_type && digest(a_, in_a) == digest(b_, in_b)) return;
    const Comparison found = same_type && a_.manifest().dtype == DType::fp32
                                 ? compare_elements<float>(kind, in_a, in_b, true)
                                 : compare_elements<double>(kind, in_a, in_b, same_type);
    if (found.elements == 0) return;
    differences_.push_back({a_.manifest().tensors[static_cast<size_t>(in_a)].name,
                            kind,
                            {},
                            found.elements,
                            found.largest,
                            found.relative_norm()});
  }

  template <class T>
  Comparison compare_elements(StateKind kind, int in_a, int in_b, bool by_bits) {
    Comparison sum;
    std::vector<T> a, b;
    for_each_part(whole_block(a_.manifest().tensors[static_cast<size_t>(in_a)].shape), [&](const LogicalBlock& part) {
      a.resize(static_cast<size_t>(part.elements()));
      b.resize(a.size());
      a_.read(kind, in_a, part, std::span<T>(a));
      b_.read(kind, in_b, part, std::span<T>(b));
      for (size_t i = 0; i < a.size(); ++i) {
        const auto value = static_cast<double>(a[i]);
        if (std::isfinite(value)) sum.squares += value * value;
        const bool equal = by_bits ? std::memcmp(&a[i], &b[i], sizeof(T)) == 0
                                   : a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
        if (!equal) sum.add(value, static_cast<double>(b[i]));
      }
    });
    return sum;
  }

  CheckpointReader& a_;
  CheckpointReader& b_;
  std::vector<TensorDifference> differences_;
};

}  // namespace

std::vector<TensorDifference> diff_checkpoints(CheckpointReader& a, CheckpointReader& b) { return Differ(a, b).run(); }

}  // namespace trident
