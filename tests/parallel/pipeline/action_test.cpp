#include "parallel/pipeline/action.h"

#include <gtest/gtest.h>

namespace trident::pipeline {
namespace {

TEST(Action, PrintsStageOpMicrobatch) {
  EXPECT_EQ(to_string({2, Op::forward, 0}), "2F0");
  EXPECT_EQ(to_string({13, Op::backward_weight, 127}), "13W127");
  EXPECT_EQ(to_string({0, Op::send_forward, 3}), "0SEND_F3");
  EXPECT_EQ(to_string({7, Op::reduce_tied, -1}), "7REDUCE_TIED");
}

TEST(Action, ParsesWhatItPrints) {
  for (int op = 0; op <= static_cast<int>(Op::reduce_tied); ++op)
    for (const int stage : {0, 9, 10, 2147483647})
      for (const int microbatch : {0, 1, 1000}) {
        const Op kind = static_cast<Op>(op);
        const Action action{stage, kind, is_reduce(kind) ? -1 : microbatch};
        EXPECT_EQ(parse_action(to_string(action)), action) << to_string(action);
      }
}

TEST(Action, RefusesEverythingElse) {
  for (const char* text :
       {"",      "F",    "2",    "2F",   "F0",    "2F0 ",   " 2F0",          "2f0",          "2X0",
        "-1F0",  "2F-1", "02F0", "2F00", "2F0F0", "2SEND0", "0REDUCE_TIED0", "2147483648F0", "0F99999999999999999999",
        "2F1.5", "+1F0"})
    EXPECT_EQ(parse_action(text), std::nullopt) << text;
}

TEST(Action, SendsAndReceivesAnswerEachOther) {
  const Action forward{3, Op::send_forward, 5}, backward{3, Op::send_backward, 5};
  EXPECT_EQ(receive_of(forward), (Action{4, Op::recv_forward, 5}));
  EXPECT_EQ(receive_of(backward), (Action{2, Op::recv_backward, 5}));
  EXPECT_EQ(send_of(receive_of(forward)), forward);
  EXPECT_EQ(send_of(receive_of(backward)), backward);
}

}  // namespace
}  // namespace trident::pipeline
