#include "data/tokenizer.h"

#include <filesystem>

#include "core/error.h"
#include "data/byte_tokenizer.h"
#include "data/gpt2_files.h"
#include "data/tokenizer_json.h"

namespace trident {
namespace fs = std::filesystem;
namespace {

constexpr const char* kRemedy =
    "name \"byte\", a tokenizer.json, or a folder that holds it or vocab.bpe + encoder.json";

bool path_exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::unique_ptr<Tokenizer> load_folder(const fs::path& folder) {
  if (path_exists(folder / "tokenizer.json")) return load_tokenizer_json((folder / "tokenizer.json").string());
  if (const auto files = find_gpt2_files(folder.string())) return load_gpt2_files(*files);
  throw Error(ErrorCode::input_missing, "data/tokenizer",
              folder.string() + ": holds neither tokenizer.json nor vocab.bpe + encoder.json", kRemedy);
}

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  encode_append(text, ids);
  return ids;
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& spec) {
  if (spec == "byte") return make_byte_tokenizer();
  const fs::path path(spec);
  if (is_folder(path)) return load_folder(path);
  if (!path_exists(path))
    throw Error(ErrorCode::input_missing, "data/tokenizer", spec + ": no such tokenizer", kRemedy);
  if (const auto files = find_gpt2_files(spec)) return load_gpt2_files(*files);
  return load_tokenizer_json(spec);
}

std::unique_ptr<Tokenizer> make_tokenizer(std::string_view kind, const std::string& path) {
  if (kind == "byte") return make_byte_tokenizer();
  const bool gpt2 = kind == "gpt2-bpe";
  if (!gpt2 && kind != "huggingface") {
    throw Error(ErrorCode::config, "data/tokenizer", "tokenizer.kind: unknown kind \"" + std::string(kind) + "\"",
                "choose byte, gpt2-bpe or huggingface");
  }
  if (path.empty()) {
    throw Error(ErrorCode::config, "data/tokenizer", "tokenizer.path: missing, kind " + std::string(kind) + " needs it",
                "name the tokenizer's folder or file");
  }
  if (!gpt2) return load_tokenizer_json(is_folder(path) ? (fs::path(path) / "tokenizer.json").string() : path);
  if (const auto files = find_gpt2_files(path)) return load_gpt2_files(*files);
  throw Error(ErrorCode::input_missing, "data/tokenizer", path + ": no vocab.bpe with encoder.json beside it",
              "name the folder that holds both (merges.txt + vocab.json will do)");
}

}  // namespace trident
