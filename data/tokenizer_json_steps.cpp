#include "data/tokenizer_json_steps.h"

#include <functional>

#include "core/error.h"

namespace trident {
namespace {

/// Calls `read` for a step, or for every step of a Sequence whose list is called `list`.
void for_each_step(const JsonNode& node, const char* list, const std::function<void(const JsonNode&)>& read) {
  if (node["type"].string() != "Sequence") {
    read(node);
    return;
  }
  node.only({"type", list});
  const JsonNode steps = node[list];
  steps.array();
  for (size_t i = 0; i < steps.size(); ++i) for_each_step(steps[i], list, read);
}

void add_normal_form(const JsonNode& node, UnicodeNormalizer& normalizer) {
  const std::string& type = node["type"].string();
  node.only({"type"});
  if (type == "NFC") return normalizer.add(NormalForm::nfc);
  if (type == "NFD") return normalizer.add(NormalForm::nfd);
  if (type == "NFKC") return normalizer.add(NormalForm::nfkc);
  if (type == "NFKD") return normalizer.add(NormalForm::nfkd);
  node["type"].fail("normalizer \"" + type + "\" is not supported (NFC, NFD, NFKC, NFKD, Sequence are)");
}

SplitBehavior read_behavior(const JsonNode& node) {
  const std::string& name = node.string();
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  node.fail("found \"" + name + "\", expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

/// A pattern's own errors gain the file and the JSON path.
SplitPattern compile(const JsonNode& place, const std::function<SplitPattern()>& make) {
  try {
    return make();
  } catch (const Error& error) {
    place.fail(error.problem());
  }
}

SplitPattern read_pattern(const JsonNode& node) {
  node.only({"Regex", "String"});
  const JsonNode regex = node["Regex"];
  const JsonNode literal = node["String"];
  if (regex.is_null() == literal.is_null()) node.fail("expected one of Regex and String");
  if (!regex.is_null()) return compile(regex, [&] { return SplitPattern::regex(regex.string()); });
  if (literal.string().empty()) literal.fail("an empty pattern");
  return compile(literal, [&] { return SplitPattern::literal(literal.string()); });
}

class StepReader {
 public:
  explicit StepReader(PreTokenizer& target) : target_(target) {}

  bool byte_level() const { return byte_level_; }

  void read(const JsonNode& node) {
    const std::string& type = node["type"].string();
    if (type == "ByteLevel") return read_byte_level(node);
    if (type == "Split") return read_split(node);
    if (type == "Digits") return read_digits(node);
    if (type == "Punctuation") return read_punctuation(node);
    if (type == "WhitespaceSplit") return read_whitespace_split(node);
    node["type"].fail("pre-tokenizer \"" + type +
                      "\" is not supported (ByteLevel, Split, Digits, Punctuation, WhitespaceSplit, Sequence are)");
  }

 private:
  void read_byte_level(const JsonNode& node) {
    node.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    if (byte_level_) node.fail("a second ByteLevel");
    if (node["add_prefix_space"].boolean_or(true)) target_.add_prefix_space();
    if (node["use_regex"].boolean_or(true)) {
      target_.add_split(SplitPattern::regex(PreTokenizer::kGpt2Pattern), SplitBehavior::isolated);
    }
    target_.add_byte_alphabet();
    byte_level_ = true;
  }

  void read_split(const JsonNode& node) {
    node.only({"type", "pattern", "behavior", "invert"});
    node["pattern"].object();
    const auto matches = node["invert"].boolean_or(false) ? PreTokenizer::Matches::keep : PreTokenizer::Matches::split;
    target_.add_split(read_pattern(node["pattern"]), read_behavior(node["behavior"]), matches);
  }

  void read_digits(const JsonNode& node) {
    node.only({"type", "individual_digits"});
    const bool individual = node["individual_digits"].boolean_or(false);
    target_.add_split(SplitPattern::regex(R"(\p{N})"),
                      individual ? SplitBehavior::isolated : SplitBehavior::contiguous);
  }

  void read_punctuation(const JsonNode& node) {
    node.only({"type", "behavior"});
    const JsonNode behavior = node["behavior"];
    target_.add_split(SplitPattern::regex(R"([!-/:-@\[-`{-~\p{P}])"),
                      behavior.is_null() ? SplitBehavior::isolated : read_behavior(behavior));
  }

  void read_whitespace_split(const JsonNode& node) {
    node.only({"type"});
    target_.add_split(SplitPattern::regex(R"(\s)"), SplitBehavior::removed);
  }

  PreTokenizer& target_;
  bool byte_level_ = false;
};

}  // namespace

UnicodeNormalizer read_normalizer(const JsonNode& node) {
  UnicodeNormalizer normalizer;
  if (node.is_null()) return normalizer;
  for_each_step(node.object(), "normalizers",
                [&](const JsonNode& step) { add_normal_form(step.object(), normalizer); });
  return normalizer;
}

PreTokenizer read_pre_tokenizer(const JsonNode& node, std::string& text) {
  PreTokenizer pre_tokenizer;
  StepReader reader(pre_tokenizer);
  if (!node.is_null()) {
    for_each_step(node.object(), "pretokenizers", [&](const JsonNode& step) { reader.read(step.object()); });
  }
  if (!reader.byte_level()) node.fail("no ByteLevel step; only byte-level BPE is supported");
  text = node.value().dump();
  return pre_tokenizer;
}

void check_post_processor(const JsonNode& node) {
  if (node.is_null()) return;
  for_each_step(node.object(), "processors", [](const JsonNode& step) {
    const std::string& type = step["type"].string();
    for (const char* known : {"ByteLevel", "TemplateProcessing", "RobertaProcessing", "BertProcessing"}) {
      if (type == known) return;
    }
    step["type"].fail("post-processor \"" + type + "\" is not supported");
  });
}

void check_decoder(const JsonNode& node) {
  if (node.is_null()) return;
  for_each_step(node.object(), "decoders", [](const JsonNode& step) {
    const std::string& type = step["type"].string();
    if (type != "ByteLevel" && type != "Fuse") {
      step["type"].fail("decoder \"" + type + "\" is not supported (ByteLevel is)");
    }
  });
}

}  // namespace trident
