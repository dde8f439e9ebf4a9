#include <fmt/format.h>

#include <iostream>

#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/diff_checkpoints.h"
#include "launch/checkpoint_verbs.h"
#include "launch/options.h"
#include "launch/text_table.h"

namespace trident {
namespace {

struct Arguments {
  std::string a;
  std::string b;
  bool json = false;
};

nlohmann::ordered_json side(const CheckpointReader& reader) {
  return {{"path", reader.folder().string()}, {"step", reader.manifest().step}};
}

nlohmann::ordered_json to_json(const CheckpointReader& a, const CheckpointReader& b,
                               const std::vector<TensorDifference>& differences) {
  auto list = nlohmann::ordered_json::array();
  for (const TensorDifference& difference : differences) {
    list.push_back({{"tensor", difference.tensor},
                    {"state", to_string(difference.kind)},
                    {"detail", difference.detail},
                    {"elements", difference.elements},
                    {"largest", difference.largest},
                    {"relative_norm", difference.relative_norm}});
  }
  return {{"equal", differences.empty()}, {"a", side(a)}, {"b", side(b)}, {"differences", std::move(list)}};
}

std::string to_text(const CheckpointReader& a, const CheckpointReader& b,
                    const std::vector<TensorDifference>& differences) {
  std::string text = fmt::format("a {}, step {}\nb {}, step {}\n", a.folder().string(), a.manifest().step,
                                 b.folder().string(), b.manifest().step);
  if (differences.empty()) return text + fmt::format("all {} tensors are equal\n", a.manifest().tensors.size());
  TextTable table({"tensor", "state", ">elements", ">largest", ">relative", "detail"});
  for (const TensorDifference& difference : differences) {
    const bool numbers = difference.detail.empty();
    table.add({difference.tensor, std::string(to_string(difference.kind)),
               numbers ? std::to_string(difference.elements) : "",
               numbers ? fmt::format("{:.3g}", difference.largest) : "",
               numbers ? fmt::format("{:.3g}", difference.relative_norm) : "", difference.detail});
  }
  return text + table.to_string();
}

int run(const Arguments& arguments) {
  CheckpointReader a(checkpoint_at(arguments.a)), b(checkpoint_at(arguments.b));
  const auto differences = diff_checkpoints(a, b);
  if (arguments.json)
    std::cout << to_json(a, b, differences).dump() << '\n';
  else
    std::cout << to_text(a, b, differences);
  return differences.empty() ? 0 : 1;
}

}  // namespace

void add_checkpoint_diff(Verb& verb, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb diff = verb.add_verb("diff", "Compare two checkpoints, tensor by tensor");
  diff.add_option("a", arguments->a, "A checkpoint, or a run: its newest").required().type_name("A");
  diff.add_option("b", arguments->b, "Another").required().type_name("B");
  add_json(diff, arguments->json);
  diff.footer(
      "Compares weights and moments, under whatever layouts they were saved: how many elements differ, the largest\n"
      "difference, and the norm of the differences relative to that of A. Steps are told but not compared.\n"
      "Exit codes: 0 equal, 1 different.\n"
      "Examples:\n  trident checkpoint diff runs/one runs/dp2\n"
      "  trident checkpoint diff runs/kjv/checkpoints/step_0000{0100,0200}");
  diff.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
