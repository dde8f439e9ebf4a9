#include <fmt/format.h>

#include <chrono>
#include <iostream>

#include "checkpoint/verify_checkpoint.h"
#include "launch/checkpoint_verbs.h"
#include "launch/options.h"
#include "launch/text_table.h"

namespace trident {
namespace {

namespace fs = std::filesystem;
using Kind = CheckpointVerdict::Kind;

struct Arguments {
  std::string checkpoint;
  bool json = false;
};

int exit_code(Kind kind) {
  switch (kind) {
    case Kind::intact: return 0;
    case Kind::corrupt: return 1;
    case Kind::incomplete: return 2;
    case Kind::newer_format: return 3;
  }
  return 1;
}

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::intact: return "intact";
    case Kind::corrupt: return "corrupt";
    case Kind::incomplete: return "incomplete";
    case Kind::newer_format: return "of a newer format";
  }
  return "corrupt";
}

nlohmann::ordered_json to_json(const fs::path& folder, const CheckpointVerdict& verdict, double seconds) {
  auto problems = nlohmann::ordered_json::array();
  for (const CheckpointProblem& problem : verdict.problems) {
    problems.push_back({{"file", problem.file},
                        {"tensor", problem.tensor},
                        {"block", problem.block ? nlohmann::ordered_json(*problem.block) : nullptr},
                        {"detail", problem.detail}});
  }
  return {{"ok", verdict.kind == Kind::intact}, {"problems", std::move(problems)},
          {"verdict", name_of(verdict.kind)},   {"path", folder.string()},
          {"strangers", verdict.strangers},     {"seconds", seconds}};
}

// "; 1.62 MiB in 9 files, 21 tensors", of an intact one.
std::string size_of(const fs::path& folder) {
  const Manifest manifest = read_manifest(folder);
  return fmt::format(": {} in {} files, {} tensors", mebibytes(static_cast<double>(manifest.bytes())),
                     2 * manifest.rank_files.size() + manifest.extra_files.size(), manifest.tensors.size());
}

std::string to_text(const fs::path& folder, const CheckpointVerdict& verdict, double seconds) {
  const bool intact = verdict.kind == Kind::intact;
  std::string text = fmt::format("{} is {}{}, in {:.2f} s\n", folder.string(), name_of(verdict.kind),
                                 intact ? size_of(folder) : "", seconds);
  if (!verdict.problems.empty()) {
    TextTable table({"file", "tensor", ">block", "detail"});
    for (const auto& problem : verdict.problems)
      table.add({problem.file, problem.tensor, problem.block ? std::to_string(*problem.block) : "", problem.detail});
    text += table.to_string();
  }
  for (const std::string& name : verdict.strangers) text += fmt::format("{} does not belong to it; never read\n", name);
  return text;
}

int run(const Arguments& arguments) {
  const fs::path folder = checkpoint_at(arguments.checkpoint);
  const auto begin = std::chrono::steady_clock::now();
  const CheckpointVerdict verdict = verify_checkpoint(folder);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (arguments.json)
    std::cout << to_json(folder, verdict, seconds).dump() << '\n';
  else
    std::cout << to_text(folder, verdict, seconds);
  return exit_code(verdict.kind);
}

}  // namespace

void add_checkpoint_verify(Verb& verb, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb verify = verb.add_verb("verify", "Prove every byte of a checkpoint, or name what is damaged");
  add_checkpoint_place(verify, arguments->checkpoint);
  add_json(verify, arguments->json);
  verify.footer(
      "Reads all files and compares hashes and digests. Exit codes: 0 intact, 1 corrupt, 2 incomplete, 3 of a newer\n"
      "format. A block is 4 MiB of a file, counted from 0.\n"
      "Example:\n  trident checkpoint verify runs/kjv --json");
  verify.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
