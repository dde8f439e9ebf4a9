#pragma once

#include <vector>

#include "core/memory.h"
#include "core/parameter.h"

namespace trident {

/// The samples of one forward and backward pass.
struct Microbatch {
  Tensor tokens;             ///< [batch, sequence] int32: inputs
  Tensor labels;             ///< [batch, sequence] int32: the next tokens; -1 counts for nothing
  double loss_weight = 0.0;  ///< 1 / label tokens of the whole global batch: the loss is their mean
};

/// What layers need beside their input: where to run, where activations come from, and the microbatch that passes.
struct Context {
  Stream stream;
  Allocator& activations;
  const Microbatch* microbatch = nullptr;
  /// Out: [1] fp64, the sum of the label tokens' losses (nats). The loss layer overwrites it, and allocates it where it
  /// is undefined.
  Tensor loss_sum{};

  /// Waits for the loss.
  [[nodiscard]] double loss() const { return *to_host(stream, loss_sum).data<double>(); }
};

/// What one microbatch leaves behind in a layer for its backward pass, with one child per sublayer. The caller owns it,
/// so many microbatches may be in flight.
struct Saved {
  std::vector<Tensor> tensors;
  std::vector<Saved> children;

  void clear() {
    tensors.clear();
    children.clear();
  }
};

/// A differentiable function with parameters. The backward pass comes in two parts, so that a schedule may delay the
/// second: backward_input needs to be quick, somebody waits for it; backward_weight may fill gaps.
class Layer {
 public:
  virtual ~Layer() = default;

  /// The output for `x`; `saved` receives what the two backward calls need.
  [[nodiscard]] virtual Tensor forward(Context& context, const Tensor& x, Saved& saved) const = 0;
  /// The loss's gradient with respect to the input, from the one with respect to the output. Frees from `saved` what
  /// backward_weight does not need.
  [[nodiscard]] virtual Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const = 0;
  /// Adds this microbatch's gradients to the parameters' and empties `saved`. After backward_input.
  virtual void backward_weight(Context& context, Saved& saved) const = 0;
  /// Both parts at once, with the same bits; layers that communicate hide one behind the other.
  [[nodiscard]] virtual Tensor backward(Context& context, const Tensor& dy, Saved& saved) const {
    Tensor dx = backward_input(context, dy, saved);
    backward_weight(context, saved);
    return dx;
  }
  /// Appends the layer's parameter groups, in storage order.
  virtual void collect(std::vector<ParameterGroup*>& groups) = 0;
};

}  // namespace trident
