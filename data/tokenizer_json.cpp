#include "data/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/log.h"
#include "data/bpe_tokenizer.h"
#include "data/byte_alphabet.h"
#include "data/json_node.h"
#include "data/tokenizer_json_steps.h"

namespace trident {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr size_t kMaxAddedToken = 4096;

void read_vocabulary(const JsonNode& node, BpeVocabulary& vocabulary) {
  node.object();
  for (const auto& [token, id] : node.value().items()) {
    const JsonNode entry = node[token];
    const std::string problem = vocabulary.add_token(token, entry.integer());
    if (!problem.empty()) entry.fail(problem);
  }
  if (vocabulary.token_count() == 0) node.fail("no tokens");
  const std::string problem = vocabulary.check_density();
  if (!problem.empty()) node.fail(problem);
}

/// "a b" or ["a", "b"].
void read_merge(const JsonNode& node, BpeVocabulary& vocabulary) {
  std::string problem;
  if (node.is_string()) {
    const std::string& text = node.string();
    const size_t space = text.find(' ');
    if (space == std::string::npos) node.fail("found \"" + text + "\", expected two tokens with a space between them");
    problem = vocabulary.add_merge(std::string_view(text).substr(0, space), std::string_view(text).substr(space + 1));
  } else {
    if (node.array().size() != 2) node.fail("expected two tokens, found " + std::to_string(node.size()));
    problem = vocabulary.add_merge(node[0].string(), node[1].string());
  }
  if (!problem.empty()) node.fail(problem);
}

void refuse_text(const JsonNode& node, const char* what) {
  if (!node.is_null() && !node.string().empty()) node.fail(std::string(what) + " is not supported");
}

bool has_all_bytes(const BpeVocabulary& vocabulary) {
  for (int byte = 0; byte < 256; ++byte) {
    const char letter = static_cast<char>(byte);
    if (!vocabulary.find(to_byte_alphabet({&letter, 1}))) return false;
  }
  return true;
}

void read_model(const JsonNode& model, BpeTokenizerParts& parts) {
  model.object();
  const JsonNode type = model["type"];
  if (!type.is_null() && type.string() != "BPE") type.fail("model \"" + type.string() + "\" is not supported (BPE is)");
  model.only({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
              "byte_fallback", "ignore_merges", "vocab", "merges"});
  const JsonNode dropout = model["dropout"];
  if (!dropout.is_null() && !(dropout.value().is_number() && dropout.value().get<double>() == 0.0)) {
    dropout.fail("dropout is not supported: ids would be random");
  }
  refuse_text(model["continuing_subword_prefix"], "a continuing_subword_prefix");
  refuse_text(model["end_of_word_suffix"], "an end_of_word_suffix");

  read_vocabulary(model["vocab"], parts.vocabulary);
  const JsonNode merges = model["merges"];
  merges.array();
  for (size_t i = 0; i < merges.size(); ++i) read_merge(merges[i], parts.vocabulary);

  parts.options.ignore_merges = model["ignore_merges"].boolean_or(false);
  parts.options.fuse_unknown = model["fuse_unk"].boolean_or(false);
  const JsonNode unknown = model["unk_token"];
  if (!unknown.is_null()) {
    parts.options.unknown = parts.vocabulary.find(unknown.string());
    if (!parts.options.unknown) unknown.fail("\"" + unknown.string() + "\" is no token of model.vocab");
  }
  if (model["byte_fallback"].boolean_or(false) && !has_all_bytes(parts.vocabulary)) {
    model["byte_fallback"].fail("byte_fallback is not supported where the vocabulary lacks some of the 256 bytes");
  }
}

AddedToken read_added_token(const JsonNode& node) {
  node.object().only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.content = node["content"].string();
  if (token.content.empty()) node["content"].fail("an empty token");
  if (token.content.size() > kMaxAddedToken) node["content"].fail("a token of more than 4096 bytes");
  token.special = node["special"].boolean_or(false);
  token.single_word = node["single_word"].boolean_or(false);
  token.lstrip = node["lstrip"].boolean_or(false);
  token.rstrip = node["rstrip"].boolean_or(false);
  token.normalized = node["normalized"].boolean_or(!token.special);
  return token;
}

/// The `tokenizers` library gives an added token the vocabulary's id, or the next free one, whatever the file says.
/// Where the file says otherwise the two would disagree, so it is refused.
void read_added_tokens(const JsonNode& node, BpeTokenizerParts& parts) {
  if (node.is_null()) return;
  BpeVocabulary all = parts.vocabulary;
  auto next = static_cast<int64_t>(parts.vocabulary.token_count());
  for (size_t i = 0; i < node.array().size(); ++i) {
    AddedToken token = read_added_token(node[i]);
    const JsonNode id = node[i]["id"];
    const auto known = all.find(token.content);
    const int64_t expected = known ? *known : next;
    if (id.integer() != expected) {
      id.fail(fmt::format("found {}, but \"{}\" {} {}", id.integer(), token.content,
                          known ? "has id" : "must have the next free id,", expected));
    }
    const std::string problem = known ? std::string() : all.add_token(token.content, expected);
    if (!problem.empty()) id.fail(problem);
    next = std::max(next, expected + 1);
    token.id = static_cast<int32_t>(expected);
    parts.added_tokens.push_back(std::move(token));
  }
}

// ---- begin and end of document

std::optional<int32_t> find_id(const BpeTokenizerParts& parts, const std::string& content) {
  for (const AddedToken& token : parts.added_tokens) {
    if (token.content == content) return token.id;
  }
  return parts.vocabulary.find(content);
}

/// tokenizer_config.json says "eos_token": "text" or {"content": "text"}.
std::optional<int32_t> configured_id(const BpeTokenizerParts& parts, const JsonNode& node) {
  const JsonNode content = node.is_object() ? node["content"] : node;
  return content.is_string() ? find_id(parts, content.string()) : std::nullopt;
}

std::optional<int32_t> first_special(const BpeTokenizerParts& parts, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    for (const AddedToken& token : parts.added_tokens) {
      if (token.special && token.content == name) return token.id;
    }
  }
  return std::nullopt;
}

void find_document_marks(BpeTokenizerParts& parts, const JsonNode& config) {
  parts.end_of_document = configured_id(parts, config["eos_token"]);
  parts.begin_of_document = configured_id(parts, config["bos_token"]);
  if (!parts.end_of_document) {
    parts.end_of_document = first_special(
        parts, {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[EOS]", "<|eos|>", "<｜end▁of▁sentence｜>"});
  }
  if (!parts.begin_of_document) {
    parts.begin_of_document =
        first_special(parts, {"<|begin_of_text|>", "<s>", "<bos>", "[BOS]", "<|bos|>", "<｜begin▁of▁sentence｜>"});
  }
}

std::unique_ptr<Tokenizer> build(const JsonNode& root, const JsonNode& config) {
  root.object();
  BpeTokenizerParts parts;
  parts.kind = "huggingface";
  read_model(root["model"], parts);
  read_added_tokens(root["added_tokens"], parts);
  parts.normalizer = read_normalizer(root["normalizer"]);
  parts.pre_tokenizer = read_pre_tokenizer(root["pre_tokenizer"], parts.pre_tokenizer_text);
  check_post_processor(root["post_processor"]);
  check_decoder(root["decoder"]);
  for (const char* ignored : {"truncation", "padding"}) {
    if (!root[ignored].is_null()) log::warning("tokenizer.json asks for {}, which training data does not use", ignored);
  }
  find_document_marks(parts, config);
  return make_bpe_tokenizer(std::move(parts));
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer_json(const std::string& path) {
  const json document = read_json_file(path);
  const std::string config_path = (fs::path(path).parent_path() / "tokenizer_config.json").string();
  std::error_code ignored;
  const json config = fs::exists(config_path, ignored) ? read_json_file(config_path) : json();
  return build(JsonNode(path, document), JsonNode(config_path, config));
}

std::unique_ptr<Tokenizer> parse_tokenizer_json(const std::string& text, const std::string& name) {
  const json document = parse_json(text, name);
  const json config;
  return build(JsonNode(name, document), JsonNode(name, config));
}

}  // namespace trident
