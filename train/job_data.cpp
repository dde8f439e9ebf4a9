#include "train/job_data.h"

#include <fmt/format.h>

#include <string_view>

#include "core/error.h"

namespace trident {
namespace {

std::string_view name_of(config::TokenizerKind kind) {
  switch (kind) {
    case config::TokenizerKind::byte: return "byte";
    case config::TokenizerKind::gpt2_bpe: return "gpt2-bpe";
    case config::TokenizerKind::huggingface: return "huggingface";
  }
  return "byte";
}

TrainingDataConfig training_data_config(const JobConfig& job) {
  TrainingDataConfig config;
  for (const auto& source : job.data.train) config.sources.push_back({source.path, source.weight});
  config.sequence_length = job.training.sequence_length;
  config.vocab_size = job.model.vocab_size;
  config.seed = static_cast<uint64_t>(job.run.seed);
  config.shuffle = job.data.shuffle;
  return config;
}

std::unique_ptr<Tokenizer> open_tokenizer(const JobConfig& job) {
  auto tokenizer = make_tokenizer(name_of(job.tokenizer.kind), job.tokenizer.path.value_or(""));
  if (tokenizer->vocab_size() <= job.model.vocab_size) return tokenizer;
  throw Error(ErrorCode::config, "tokenizer",
              fmt::format("the tokenizer has {} tokens, more than model.vocab_size {}", tokenizer->vocab_size(),
                          job.model.vocab_size),
              fmt::format("set model.vocab_size to {} or more", tokenizer->vocab_size()));
}

}  // namespace

JobInputs::JobInputs(const JobConfig& job) : tokenizer(open_tokenizer(job)), training(training_data_config(job)) {
  if (job.data.validation) validation.emplace(*job.data.validation, job.training.sequence_length, job.model.vocab_size);
}

}  // namespace trident
