#include "train/text_sampler.h"

#include <utility>
#include <vector>

#include "model/generator.h"
#include "train/config/job_plan.h"
#include "train/job_setup.h"
#include "train/weights.h"

namespace trident {

TextSampler::TextSampler(JobConfig job, const DeviceMesh& mesh, Engine& engine, const Tokenizer& tokenizer)
    : job_(std::move(job)),
      is_first_(mesh.world().rank() == 0),
      whole_(mesh.shape().tp == 1 && mesh.shape().pp == 1),
      engine_(engine),
      tokenizer_(tokenizer),
      gatherer_(mesh.world(), engine.stream(), engine.pieces()) {}

bool TextSampler::due(int64_t step) const {
  const int64_t interval = job_.logging.sample_interval_steps;
  return interval != 0 && step % interval == 0;
}

std::optional<std::string> TextSampler::sample() {
  engine_.wait_parameters();
  if (whole_) return is_first_ ? std::optional(generate(engine_.model())) : std::nullopt;
  std::optional<Model> whole;
  if (is_first_) {
    whole.emplace(job_.model, compute_dtype(job_), Recompute::none, engine_.stream());
    whole->storage().release_master();
  }
  gather_weights(gatherer_, whole ? &whole->storage() : nullptr, engine_.stream());
  return whole ? std::optional(generate(*whole)) : std::nullopt;
}

std::string TextSampler::generate(const Model& model) const {
  const auto& logging = job_.logging;
  std::vector<int32_t> prompt = tokenizer_.encode(logging.sample_prompt.value_or("\n"));
  Generator generator(model, engine_.stream());
  const SamplingOptions options{.temperature = 0.8, .seed = static_cast<uint64_t>(job_.run.seed)};
  const auto generated = generator.generate(prompt, logging.sample_tokens, options);
  prompt.insert(prompt.end(), generated.begin(), generated.end());
  return tokenizer_.decode(prompt);
}

}  // namespace trident
