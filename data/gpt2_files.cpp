#include "data/gpt2_files.h"

#include <filesystem>

#include "core/error.h"
#include "data/bpe_tokenizer.h"
#include "data/json_node.h"
#include "data/text_file.h"

namespace trident {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxMerges = uint64_t{64} << 20;

void read_ids(const std::string& path, BpeVocabulary& vocabulary) {
  const nlohmann::json document = read_json_file(path);
  const JsonNode root(path, document);
  root.object();
  for (const auto& [token, id] : document.items()) {
    const JsonNode entry = root[token];
    const std::string problem = vocabulary.add_token(token, entry.integer());
    if (!problem.empty()) entry.fail(problem);
  }
  if (vocabulary.token_count() == 0) root.fail("no tokens");
  const std::string problem = vocabulary.check_density();
  if (!problem.empty()) root.fail(problem);
}

/// "left right" a line; a first line that starts with #version is a comment.
void read_merges(const std::string& path, BpeVocabulary& vocabulary) {
  const std::string text = read_text_file(path, kMaxMerges);
  std::string_view rest = text;
  for (size_t line_number = 1; !rest.empty(); ++line_number) {
    const size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || (line_number == 1 && line.substr(0, 8) == "#version")) continue;
    const size_t space = line.find(' ');
    const std::string_view right = space == std::string_view::npos ? std::string_view() : line.substr(space + 1);
    const std::string problem = vocabulary.add_merge(line.substr(0, space), right);
    if (!problem.empty()) {
      throw Error(ErrorCode::bad_data, "data/tokenizer", path + ":" + std::to_string(line_number) + ": " + problem,
                  "check that this file and encoder.json belong together");
    }
  }
}

}  // namespace

std::optional<Gpt2Files> find_gpt2_files(const std::string& folder_or_file) {
  std::error_code ignored;
  const fs::path path(folder_or_file);
  const bool is_folder = fs::is_directory(path, ignored);
  const fs::path folder = is_folder ? path : path.parent_path();
  for (const auto& [merges, ids] : {std::pair{"vocab.bpe", "encoder.json"}, std::pair{"merges.txt", "vocab.json"}}) {
    if (!is_folder && path.filename() != merges && path.filename() != ids) continue;
    if (fs::exists(folder / merges, ignored) && fs::exists(folder / ids, ignored)) {
      return Gpt2Files{(folder / merges).string(), (folder / ids).string()};
    }
  }
  return std::nullopt;
}

std::unique_ptr<Tokenizer> load_gpt2_files(const Gpt2Files& files) {
  BpeTokenizerParts parts;
  parts.kind = "gpt2-bpe";
  read_ids(files.ids, parts.vocabulary);
  read_merges(files.merges, parts.vocabulary);
  parts.pre_tokenizer.add_split(SplitPattern::regex(PreTokenizer::kGpt2Pattern), SplitBehavior::isolated);
  parts.pre_tokenizer_text = PreTokenizer::kGpt2Pattern;
  parts.end_of_document = parts.vocabulary.find("<|endoftext|>");
  return make_bpe_tokenizer(std::move(parts));
}

}  // namespace trident
