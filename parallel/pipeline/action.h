#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trident::pipeline {

enum class Op : uint8_t {
  forward,          ///< F
  backward,         ///< B: input gradient, then weight gradient
  backward_input,   ///< I: what the previous stage waits for
  backward_weight,  ///< W: may be deferred
  send_forward,     ///< SEND_F: this stage's output goes to the next stage
  recv_forward,     ///< RECV_F: this stage's input comes from the previous stage
  send_backward,    ///< SEND_B: the gradient of this stage's input goes to the previous stage
  recv_backward,    ///< RECV_B: the gradient of this stage's output comes from the next stage
  reduce_tied       ///< REDUCE_TIED: the first and the last stage add their gradients of the tied embedding
};

/// One thing that a rank does. Printed as stage, op, microbatch: `2F0`, `3SEND_F1`; the reduction has no microbatch:
/// `0REDUCE_TIED`.
struct Action {
  int32_t stage = 0;
  Op op = Op::forward;
  int32_t microbatch = 0;  ///< -1 where the op has none

  bool operator==(const Action&) const = default;
};

[[nodiscard]] constexpr bool is_compute(Op op) { return op <= Op::backward_weight; }
[[nodiscard]] constexpr bool is_send(Op op) { return op == Op::send_forward || op == Op::send_backward; }
[[nodiscard]] constexpr bool is_recv(Op op) { return op == Op::recv_forward || op == Op::recv_backward; }
[[nodiscard]] constexpr bool is_reduce(Op op) { return op == Op::reduce_tied; }
/// Whether the op computes a microbatch's input gradient; its weight gradient.
[[nodiscard]] constexpr bool gives_input_gradient(Op op) { return op == Op::backward || op == Op::backward_input; }
[[nodiscard]] constexpr bool gives_weight_gradient(Op op) { return op == Op::backward || op == Op::backward_weight; }

[[nodiscard]] std::string_view op_name(Op op);
[[nodiscard]] std::string to_string(const Action& action);
/// Nothing where `text` is not what to_string prints.
[[nodiscard]] std::optional<Action> parse_action(std::string_view text);

/// The receive that takes what `send` sends.
[[nodiscard]] constexpr Action receive_of(const Action& send) {
  return send.op == Op::send_forward ? Action{send.stage + 1, Op::recv_forward, send.microbatch}
                                     : Action{send.stage - 1, Op::recv_backward, send.microbatch};
}

/// The send whose value `receive` takes.
[[nodiscard]] constexpr Action send_of(const Action& receive) {
  return receive.op == Op::recv_forward ? Action{receive.stage - 1, Op::send_forward, receive.microbatch}
                                        : Action{receive.stage + 1, Op::send_backward, receive.microbatch};
}

}  // namespace trident::pipeline
