#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <iostream>
#include <string>

#include "launch/options.h"
#include "launch/token_ids.h"
#include "launch/verbs.h"
#include "model/generator.h"
#include "train/loaded_model.h"

namespace trident {
namespace {

struct Arguments {
  std::string model;
  std::string prompt;
  std::string ids;
  int64_t tokens = 100;
  SamplingOptions sampling;
  DType precision = DType::fp32;
  int threads = 0;
  bool json = false;
  std::optional<VerbOption> ids_given;
};

// Text that may end inside a UTF-8 character, which JSON cannot hold, has the broken bytes replaced.
std::string to_json(const std::vector<int32_t>& ids, const std::string& text) {
  const nlohmann::ordered_json json = {{"ids", ids}, {"text", text}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void print(const Arguments& arguments, const LoadedModel& loaded, std::vector<int32_t> prompt,
           const std::vector<int32_t>& generated) {
  prompt.insert(prompt.end(), generated.begin(), generated.end());
  const std::string text = loaded.tokenizer ? loaded.tokenizer->decode(prompt) : std::string();
  if (arguments.json)
    std::cout << to_json(generated, text) << '\n';
  else if (arguments.ids_given->given())
    std::cout << fmt::format("{}\n", fmt::join(generated, " "));
  else
    std::cout << text << '\n';
}

int run(const Arguments& arguments) {
  const Stream stream = Stream::cpu(arguments.threads > 0 ? arguments.threads : available_cpus());
  const LoadedModel loaded = load_model(arguments.model, arguments.precision, stream);
  const std::vector<int32_t> prompt = arguments.ids_given->given()
                                          ? parse_token_ids(arguments.ids)
                                          : loaded.require_tokenizer().encode(arguments.prompt);
  Generator generator(*loaded.model, stream);
  const auto end = loaded.tokenizer ? loaded.tokenizer->end_of_document() : std::nullopt;
  const auto generated = generator.generate(prompt, arguments.tokens, arguments.sampling,
                                            [&](int32_t token) { return !end || token != *end; });
  print(arguments, loaded, prompt, generated);
  return 0;
}

}  // namespace

void add_generate(Verb& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb verb = program.add_verb("generate", "Continue a text with a trained model");
  add_model(verb, arguments->model);
  const VerbOption prompt = verb.add_option("--prompt", arguments->prompt, "The text to continue").type_name("TEXT");
  arguments->ids_given =
      verb.add_option("--ids", arguments->ids, "The token ids to continue; ids are printed too").type_name("1,2,3");
  arguments->ids_given->excludes(prompt);
  verb.add_option("--tokens", arguments->tokens, "Tokens to add at most").range(0, 1 << 24).show_default();
  verb.add_option("--temperature", arguments->sampling.temperature, "0: always the likeliest").show_default();
  verb.add_option("--top-k", arguments->sampling.top_k, "Only the K likeliest; 0: all").show_default();
  verb.add_option("--top-p", arguments->sampling.top_p, "Only the likeliest that together have probability P")
      .show_default();
  verb.add_option("--seed", arguments->sampling.seed, "Equal seeds give equal texts").show_default();
  add_precision(verb, arguments->precision);
  add_threads(verb, arguments->threads);
  verb.add_flag("--json", arguments->json, "Report as JSON: ids and text");
  verb.footer(
      "Examples:\n  trident generate runs/kjv --prompt 'In the beginning' --temperature 0.8\n"
      "  trident generate gpt2-hf/ --ids 15496,11 --temperature 0 --json");
  verb.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
