#include <fmt/format.h>

#include <iostream>

#include "launch/checkpoint_verbs.h"
#include "launch/options.h"
#include "launch/text_table.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string checkpoint;
  bool json = false;
};

std::string hex(uint64_t digest) { return fmt::format("{:016x}", digest); }

uint64_t master_digest(const TensorDigest& digest) { return digest[static_cast<size_t>(StateKind::master)]; }

nlohmann::ordered_json tensors_of(const Manifest& manifest) {
  auto tensors = nlohmann::ordered_json::array();
  for (size_t i = 0; i < manifest.tensors.size(); ++i) {
    const auto& [name, shape] = manifest.tensors[i];
    nlohmann::ordered_json tensor = {{"name", name},
                                     {"shape", shape.dims()},
                                     {"dtype", to_string(manifest.dtype)},
                                     {"digest", hex(master_digest(manifest.digests[i]))}};
    for (int kind = 1; kind < manifest.states(); ++kind)
      tensor["digests"][std::string(to_string(static_cast<StateKind>(kind)))] =
          hex(manifest.digests[i][static_cast<size_t>(kind)]);
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

nlohmann::ordered_json files_of(const Manifest& manifest) {
  auto files = nlohmann::ordered_json::array();
  for (const RankFile& file : manifest.rank_files)
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"segments", file.segments.size()}});
  for (const ExtraFile& file : manifest.extra_files) files.push_back({{"name", file.name}, {"bytes", file.bytes}});
  return files;
}

int64_t parameters_of(const Manifest& manifest) {
  int64_t count = 0;
  for (const LogicalTensor& tensor : manifest.tensors) count += tensor.shape.elements();
  return count;
}

nlohmann::ordered_json to_json(const fs::path& folder, const Manifest& manifest) {
  return {{"step", manifest.step},
          {"consumed_samples", manifest.consumed_samples},
          {"layout", to_json(manifest.layout)},
          {"tensors", tensors_of(manifest)},
          {"bytes", manifest.bytes()},
          {"path", folder.string()},
          {"run_id", manifest.run_id},
          {"parent_step", manifest.parent_step ? nlohmann::ordered_json(*manifest.parent_step) : nullptr},
          {"seed", manifest.seed},
          {"dtype", to_string(manifest.dtype)},
          {"moments", manifest.moments},
          {"parameters", parameters_of(manifest)},
          {"trainer", manifest.trainer},
          {"config_hash", to_hex(manifest.config_hash)},
          {"tokenizer_hash", to_hex(manifest.tokenizer_hash)},
          {"files", files_of(manifest)}};
}

std::string to_text(const fs::path& folder, const Manifest& manifest) {
  const SavedLayout& layout = manifest.layout;
  std::string text = fmt::format("checkpoint  {}\n", folder.string());
  const auto line = [&](const char* name, const std::string& value) {
    text += fmt::format("{:<11} {}\n", name, value);
  };
  line("step", fmt::format("{}, after {} samples", manifest.step, manifest.consumed_samples));
  line("run", fmt::format("{}, seed {}", manifest.run_id, manifest.seed));
  line("saved under", fmt::format("{}, {} virtual stages a rank, ZeRO-{}", to_string(layout), layout.virtual_stages,
                                  layout.zero_stage));
  line("holds", fmt::format("{} parameters in {} tensors, {}, {}", parameters_of(manifest), manifest.tensors.size(),
                            to_string(manifest.dtype), manifest.moments ? "with moments" : "weights alone"));
  line("size", fmt::format("{} in {} files", mebibytes(static_cast<double>(manifest.bytes())),
                           2 * manifest.rank_files.size() + manifest.extra_files.size()));
  TextTable table({"tensor", "shape", "dtype", "digest"});
  for (size_t i = 0; i < manifest.tensors.size(); ++i)
    table.add({manifest.tensors[i].name, manifest.tensors[i].shape.to_string(), std::string(to_string(manifest.dtype)),
               hex(master_digest(manifest.digests[i]))});
  return text + "\n" + table.to_string();
}

int run(const Arguments& arguments) {
  const fs::path folder = checkpoint_at(arguments.checkpoint);
  const Manifest manifest = read_manifest(folder);
  if (arguments.json)
    std::cout << to_json(folder, manifest).dump() << '\n';
  else
    std::cout << to_text(folder, manifest);
  return 0;
}

}  // namespace

void add_checkpoint_show(Verb& verb, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb show = verb.add_verb("show", "What a checkpoint holds, as its manifest says");
  add_checkpoint_place(show, arguments->checkpoint);
  add_json(show, arguments->json);
  show.footer(
      "A digest is of a tensor's weights and does not depend on the layout that they were saved under: equal digests,\n"
      "equal weights.\n"
      "Examples:\n  trident checkpoint show runs/kjv\n"
      "  trident checkpoint show runs/kjv/checkpoints/step_00000100 --json");
  show.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
