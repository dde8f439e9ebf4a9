#include "train/config/config.h"

#include <utility>

#include "train/config/complete.h"
#include "train/config/keys.h"
#include "train/config/overrides.h"
#include "train/config/reader.h"
#include "train/config/text_file.h"

namespace trident {
namespace {

using config::Diagnostics;
using config::YamlNode;

/// The command line replaces the file: `training.steps=10` also takes the place of the file's `tokens`.
void settle_duration(YamlNode& root) {
  YamlNode* training = root.find("training");
  if (training == nullptr) return;
  const YamlNode* steps = training->find("steps");
  const YamlNode* tokens = training->find("tokens");
  if (steps == nullptr || tokens == nullptr) return;
  if ((steps->place.source == 0) == (tokens->place.source == 0)) return;
  training->erase(steps->place.source == 0 ? "steps" : "tokens");
}

YamlNode document(const std::string& text, std::span<const std::string> overrides, Diagnostics& diagnostics) {
  YamlNode root = config::parse_yaml(0, text, diagnostics);
  if (root.kind == YamlNode::Kind::null) root = YamlNode(YamlNode::Kind::map, {0, 1, 1});
  if (root.kind == YamlNode::Kind::scalar || root.kind == YamlNode::Kind::sequence) {
    diagnostics.add(root.place, "E105", "a job file is a mapping of keys",
                    "start with e.g. `model: {preset: llama-tiny}`");
    diagnostics.throw_if_failed();
  }
  config::apply_overrides(root, overrides, diagnostics);
  settle_duration(root);
  return root;
}

}  // namespace

JobConfig parse_job(const std::string& text, const std::string& file_name, std::span<const std::string> overrides,
                    ResolvedOrigins* origins) {
  Diagnostics diagnostics;
  diagnostics.add_source(file_name, text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text);
  const YamlNode root = document(std::string(diagnostics.source(0).text), overrides, diagnostics);
  // Keys that a broken text hides would be reported as missing.
  if (root.kind == YamlNode::Kind::refused) diagnostics.throw_if_failed();

  JobConfig job;
  config::Reading reading{diagnostics, {}, {}, {}, {}, {}};
  config::apply_preset(root, job, reading);
  config::Reader reader(root, reading);
  visit(reader, job);
  reader.finish();
  config::complete(job, reading, file_name);
  config::check(job, reading);
  diagnostics.throw_if_failed();
  if (origins != nullptr) {
    *origins = {std::move(reading.origins), diagnostics.warnings(), std::move(reading.given), diagnostics.sources()};
  }
  return job;
}

JobConfig load_job(const std::string& path, std::span<const std::string> overrides, ResolvedOrigins* origins) {
  return parse_job(config::read_text_file(path, "job file", "give the path of a YAML job file"), path, overrides,
                   origins);
}

}  // namespace trident
