#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/tokenize_corpus.h"
#include "data/tokenizer.h"
#include "launch/options.h"
#include "launch/token_ids.h"
#include "launch/verbs.h"

namespace trident {
namespace {

struct Arguments {
  std::string tokenizer;
  TokenizeCorpusOptions corpus;
  std::string text;
  std::string ids;
  std::optional<VerbOption> encode;
  std::optional<VerbOption> decode;
  bool json = false;
};

void tokenize_files(const Arguments& arguments, const Tokenizer& tokenizer) {
  if (arguments.corpus.inputs.empty() || arguments.corpus.out_prefix.empty())
    throw Error(ErrorCode::usage, "tokenize", "inputs and --out are needed",
                "trident tokenize text.txt --tokenizer byte --out data/text");
  if (const auto parent = std::filesystem::path(arguments.corpus.out_prefix).parent_path(); !parent.empty())
    std::filesystem::create_directories(parent);
  const TokenizeCorpusResult result = tokenize_corpus(arguments.corpus, corpus_encoder(tokenizer));
  if (arguments.json) {
    const nlohmann::ordered_json json = {{"documents", result.documents},
                                         {"tokens", result.tokens},
                                         {"bytes", result.bytes},
                                         {"seconds", result.seconds},
                                         {"validation_documents", result.validation_documents},
                                         {"validation_tokens", result.validation_tokens},
                                         {"vocab_size", tokenizer.vocab_size()}};
    std::cout << json.dump() << '\n';
    return;
  }
  std::cout << fmt::format("{} tokens of {} documents, {} bytes, in {:.2f} s: {}.bin and .idx\n", result.tokens,
                           result.documents, result.bytes, result.seconds, arguments.corpus.out_prefix);
  if (arguments.corpus.validation_fraction > 0)
    std::cout << fmt::format("{} of the tokens are in {}-val\n", result.validation_tokens, arguments.corpus.out_prefix);
}

int run(const Arguments& arguments) {
  const auto tokenizer = load_tokenizer(arguments.tokenizer);
  if (arguments.encode->given()) {
    std::cout << fmt::format("{}\n", fmt::join(tokenizer->encode(arguments.text), " "));
  } else if (arguments.decode->given()) {
    std::cout << tokenizer->decode(parse_token_ids(arguments.ids)) << '\n';
  } else {
    tokenize_files(arguments, *tokenizer);
  }
  return 0;
}

}  // namespace

void add_tokenize(Verb& program, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  Verb verb = program.add_verb("tokenize", "Turn text or JSONL into a data set, Megatron's .bin/.idx");
  TokenizeCorpusOptions& corpus = arguments->corpus;
  verb.add_option("inputs", corpus.inputs, "Text files (one document each) and .jsonl files (one a line)")
      .type_name("INPUT…");
  verb.add_option("--tokenizer", arguments->tokenizer, "byte, a folder, vocab.bpe or tokenizer.json").required();
  verb.add_option("--out", corpus.out_prefix, "Writes PREFIX.bin and PREFIX.idx").type_name("PREFIX");
  verb.add_option("--key", corpus.json_key, "The JSONL key that holds the text").show_default();
  verb.add_option("--validation-fraction", corpus.validation_fraction,
                  "The last part of the bytes goes to PREFIX-val instead")
      .real_range(0.0, 0.9);
  verb.add_option("--threads", corpus.threads, "0: one per core").range(0, 1024).show_default();
  verb.add_flag("!--no-end-of-document", corpus.append_end_of_document, "Put no token between documents");
  verb.add_flag("!--no-progress", corpus.progress, "Say nothing while working");
  arguments->encode = verb.add_option("--ids", arguments->text, "Print the ids of this text only").type_name("TEXT");
  arguments->decode = verb.add_option("--decode", arguments->ids, "Print the text of these ids only").type_name("IDS");
  arguments->encode->excludes(*arguments->decode);
  add_json(verb, arguments->json);
  verb.footer(
      "Examples:\n  trident tokenize book.txt --tokenizer byte --validation-fraction 0.05 --out data/book\n"
      "  trident tokenize web-*.jsonl --tokenizer tokenizer.json --out data/web\n"
      "  trident tokenize --tokenizer gpt2/ --ids 'hello world'");
  verb.on_parsed([&action, arguments] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace trident
