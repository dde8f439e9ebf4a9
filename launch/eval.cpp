#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <iostream>
#include <string>

#include "core/error.h"
#include "launch/options.h"
#include "launch/verbs.h"
#include "train/evaluate.h"
#include "train/gemm_setup.h"
#include "train/weights.h"

namespace trident {
namespace {

struct Arguments {
  std::string model;
  std::string data;
  int64_t sequence_length = 0;
  int64_t batch_size = 8;
  int64_t batches = 0;
  DType precision = DType::fp32;
  int threads = 0;
  bool json = false;
};

int64_t window_length(const Arguments& arguments, const ModelConfig& config) {
  if (arguments.sequence_length <= config.max_position_embeddings)
    return arguments.sequence_length > 0 ? arguments.sequence_length : config.max_position_embeddings;
  throw Error(ErrorCode::usage, "eval",
              fmt::format("--sequence-length {} is more than the model's {} positions", arguments.sequence_length,
                          config.max_position_embeddings));
}

int run(const Arguments& arguments) {
  const ModelWeights weights(arguments.model);
  const ModelConfig& config = weights.config();
  EngineOptions options;
  options.compute = arguments.precision;
  options.micro_batch_size = arguments.batch_size;
  options.sequence_length = window_length(arguments, config);
  const ValidationData data(arguments.data, options.sequence_length, config.vocab_size);
  const GemmSetup gemms;
  const DeviceMesh mesh = DeviceMesh(Communicator::self("world"), {});
  const DryRun plan = dry_run(config, options, 0, gemms.meta_stream());
  const Stream stream = Stream::cpu(arguments.threads > 0 ? arguments.threads : available_cpus());
  gemms.choose(stream, {});
  Engine engine(config, options, mesh, plan, stream);
  load_weights(weights, engine.model().storage(), stream);
  const int64_t windows =
      arguments.batches > 0 ? std::min(data.windows(), arguments.batches * arguments.batch_size) : data.windows();
  const Evaluation result = evaluate(engine, data, windows);
  if (arguments.json) {
    const nlohmann::ordered_json json = {{"loss", result.loss},
                                         {"perplexity", result.perplexity()},
                                         {"tokens", result.labels},
                                         {"seconds", result.seconds}};
    std::cout << json.dump() << '\n';
  } else {
    std::cout << fmt::format("loss {:.6f} nats a token, perplexity {:.4f}, over {} tokens in {:.1f} s\n", result.loss,
                             result.perplexity(), result.labels, result.seconds);
  }
  return 0;
}

}  // namespace

void add_eval(Verb& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb verb = program.add_verb("eval", "Mean loss and perplexity of a model on a data set");
  add_model(verb, arguments->model);
  verb.add_option("--data", arguments->data, "The data set's .bin/.idx prefix").required().type_name("PREFIX");
  verb.add_option("--sequence-length", arguments->sequence_length, "Window; 0: all of the model's positions")
      .non_negative()
      .show_default();
  verb.add_option("--batch-size", arguments->batch_size, "Windows at a time").range(1, 1 << 16).show_default();
  verb.add_option("--batches", arguments->batches, "Only the first so many batches; 0: the whole data set")
      .non_negative()
      .show_default();
  add_precision(verb, arguments->precision);
  add_threads(verb, arguments->threads);
  add_json(verb, arguments->json);
  verb.footer(
      "Every token but the first is predicted once, from the tokens before it in its window.\n"
      "Example:\n  trident eval runs/kjv --data data/kjv-val --json");
  verb.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
