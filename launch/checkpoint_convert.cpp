#include <fmt/format.h>

#include <iostream>

#include "launch/checkpoint_verbs.h"
#include "launch/options.h"
#include "train/convert.h"

namespace trident {
namespace {

struct Arguments {
  std::string source;
  std::string out;
  DType dtype = DType::fp32;
  bool overwrite = false;
  bool json = false;
};

void print(const Arguments& arguments, const Conversion& result) {
  if (arguments.json) {
    nlohmann::ordered_json json = {{"out", result.folder.string()}, {"parameters", result.parameters}};
    if (!result.check.empty()) json["check"] = result.check;
    std::cout << json.dump() << '\n';
  } else {
    std::cout << fmt::format("{} parameters in {}\n", result.parameters, result.folder.string());
    if (!result.check.empty()) std::cout << fmt::format("checked against the source: {}\n", result.check);
  }
}

}  // namespace

void add_checkpoint_export(Verb& verb, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb exported = verb.add_verb("export", "Write a Hugging Face directory");
  exported.add_option("source", arguments->source, "A run (its newest checkpoint) or one of its checkpoints")
      .required()
      .type_name("RUN_OR_CKPT");
  exported.add_option("--out", arguments->out, "The directory to write").required().type_name("HF_DIR");
  add_dtype(exported, "--dtype", arguments->dtype, {DType::fp32, DType::bf16}, "fp32 unless given");
  exported.add_flag("--overwrite", arguments->overwrite, "Replace what is in HF_DIR");
  add_json(exported, arguments->json);
  exported.footer(
      "Weights go through memory in bands of rows. Then all are read back and compared with the source, and so are "
      "the\n"
      "logits of a few tokens where the model fits into half of the free memory.\n"
      "Example:\n  trident checkpoint export runs/kjv --out kjv-hf --dtype bf16");
  exported.on_parsed([&action, arguments] {
    action = [arguments] {
      print(*arguments, export_model(arguments->source, arguments->out, arguments->dtype, arguments->overwrite));
      return 0;
    };
  });
}

void add_checkpoint_import(Verb& verb, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb imported = verb.add_verb("import", "Make a run at step 0 from a Hugging Face directory");
  imported.add_option("source", arguments->source, "Llama or GPT-2: config.json and safetensors")
      .required()
      .type_name("HF_DIR");
  imported.add_option("--out", arguments->out, "The run to make, <run.dir>/<run.name>").required().type_name("RUN");
  add_json(imported, arguments->json);
  imported.footer(
      "The run's checkpoint of step 0 has the weights in fp32, without moments.\n"
      "Example:\n  trident checkpoint import gpt2/ --out runs/gpt2\n"
      "  trident train job.yaml run.name=gpt2   # trains on from these weights");
  imported.on_parsed([&action, arguments] {
    action = [arguments] {
      print(*arguments, import_model(arguments->source, arguments->out));
      return 0;
    };
  });
}

}  // namespace trident
