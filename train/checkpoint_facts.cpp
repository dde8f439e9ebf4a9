#include "train/checkpoint_facts.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/huggingface.h"
#include "core/atomic_file.h"
#include "parallel/comm/exchange_text.h"
#include "train/config/config.h"
#include "train/model_weights.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

HuggingFaceExport companions_of(const JobConfig& job) {
  HuggingFaceExport options;
  options.byte_tokenizer = job.tokenizer.kind == config::TokenizerKind::byte;
  if (job.tokenizer.path) options.tokenizer_files = tokenizer_files_in(*job.tokenizer.path);
  return options;
}

}  // namespace

std::string random_id() {
  std::random_device random;
  std::string id;
  for (int i = 0; i < 4; ++i) id += fmt::format("{:08x}", random());
  return id;
}

std::string run_id_of(const RunDirectory& run) {
  const fs::path path = run.id();
  std::string id = content_of(path).substr(0, 32);
  if (id.size() == 32 && id.find_first_not_of("0123456789abcdef") == std::string::npos) return id;
  id = random_id();
  write_file_atomically(path, id + "\n");
  return id;
}

std::string run_id_of(const RunDirectory& run, const Communicator& world) {
  return broadcast_text(world, world.rank() == 0 ? run_id_of(run) : "");
}

Hash128 tokenizer_hash(const std::vector<Attachment>& companions) {
  std::string text;
  for (const Attachment& file : companions) {
    // The settings name a length, which is the model's; the others are the tokens.
    if (file.name == "config.json" || file.name == "generation_config.json" || file.name == "tokenizer_config.json")
      continue;
    text += fmt::format("{} {}\n", file.name, file.content.size()) + file.content;
  }
  return hash_bytes(text);
}

Hash128 tokenizer_hash(const JobConfig& job) { return tokenizer_hash(companion_files(job.model, companions_of(job))); }

Manifest manifest_of(const JobConfig& job, const std::string& run_id) {
  Manifest manifest;
  manifest.run_id = run_id;
  manifest.seed = static_cast<uint64_t>(job.run.seed);
  const auto& layout = job.parallelism;
  const auto number = [](const auto& key) { return static_cast<int>(key.value()); };
  manifest.layout = {number(layout.dp), number(layout.tp), number(layout.pp), number(layout.virtual_stages),
                     number(layout.zero_stage)};
  const std::string yaml = to_yaml(job);
  manifest.config_hash = hash_bytes(yaml);
  manifest.tokenizer_hash = tokenizer_hash(job);
  manifest.trainer = {{"logical_shards", layout.logical_shards.value()},
                      {"global_batch_size", job.training.global_batch_size},
                      {"loss_scale", 1.0},
                      {"lr_schedule",
                       {{"warmup_steps", job.lr_schedule.warmup_steps},
                        {"lr", job.optimizer.lr},
                        {"min_lr", job.lr_schedule.min_lr},
                        {"steps", job.training.total_steps()}}}};
  return manifest;
}

void restore_gemm_choice(const RunDirectory& run, const fs::path& checkpoint) {
  const fs::path kept = run.gemm_choice();
  if (fs::exists(kept)) return;
  try {
    write_file_atomically(kept, CheckpointReader(checkpoint).extra_file(kGemmFile));
  } catch (const Error&) {
    return;  // a damaged checkpoint is told of when its state is loaded
  }
}

std::vector<Attachment> attachments_of(const JobConfig& job, const RunDirectory& run,
                                       const SpecialTokens& special_tokens) {
  HuggingFaceExport options = companions_of(job);
  options.special_tokens = special_tokens;
  std::vector<Attachment> files = companion_files(job.model, options);
  files.push_back({kJobFile, to_yaml(job)});
  if (const fs::path gemm = run.gemm_choice(); fs::exists(gemm)) files.push_back({kGemmFile, content_of(gemm)});
  return files;
}

}  // namespace trident
