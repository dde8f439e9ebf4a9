#include "train/config/complete.h"

#include <fmt/format.h>

#include <algorithm>

#include "parallel/pipeline/schedule.h"
#include "train/config/job_config.h"
#include "train/config/keys.h"
#include "train/config/microbatch_split.h"
#include "train/config/presets.h"
#include "train/config/read_value.h"

namespace trident::config {
namespace {

/// "configs/smoke.yaml" → "smoke"; "run" where that is no name.
std::string stem(const std::string& file_name) {
  auto name = file_name.substr(file_name.find_last_of('/') + 1);
  name = name.substr(0, name.find('.'));
  const bool legible = std::all_of(name.begin(), name.end(), [](unsigned char c) { return c > ' ' && c < 0x7F; });
  return name.empty() || name.size() > 100 || !legible ? "run" : name;
}

int64_t divide_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

int64_t round_up(int64_t value, int64_t multiple) { return divide_up(value, multiple) * multiple; }

class Completion {
 public:
  Completion(JobConfig& job, Reading& reading) : job_(job), reading_(reading) {}

  void run(const std::string& file_name) {
    if (open("run.name", {})) set("run.name", job_.run.name, stem(file_name), "the job file's name");
    model();
    vocabulary();
    lengths();
    virtual_stages();
    training();
    intervals();
  }

 private:
  /// True where `path` is not given and what it follows from is usable; marks it failed where that is not.
  bool open(std::string_view path, std::initializer_list<std::string_view> inputs) {
    if (reading_.is_given(path)) return false;
    if (reading_.usable(inputs)) return true;
    reading_.failed.insert(std::string(path));
    return false;
  }

  template <class T, class U>
  void set(const std::string& path, T& field, U value, std::string_view reason) {
    field = std::move(value);
    reading_.origins[path] = fmt::format("auto ({})", reason);
  }

  void model() {
    auto& m = job_.model;
    const bool gpt2 = m.architecture == Architecture::gpt2;
    if (m.intermediate_size == 0 && open("model.intermediate_size", {"model.hidden_size", "model.architecture"})) {
      set("model.intermediate_size", m.intermediate_size,
          gpt2 ? 4 * m.hidden_size : round_up(8 * m.hidden_size / 3, 32),
          gpt2 ? "4 * hidden_size" : "8/3 of hidden_size, up to a multiple of 32");
    }
    if (m.num_key_value_heads == 0 && open("model.num_key_value_heads", {"model.num_attention_heads"})) {
      set("model.num_key_value_heads", m.num_key_value_heads, m.num_attention_heads, "num_attention_heads");
    }
    if (m.head_dim == 0 && open("model.head_dim", {"model.hidden_size", "model.num_attention_heads"})) {
      set("model.head_dim", m.head_dim, m.hidden_size / m.num_attention_heads, "hidden_size / num_attention_heads");
    }
    if (!reading_.preset && open("model.tie_word_embeddings", {"model.architecture"})) {
      set("model.tie_word_embeddings", m.tie_word_embeddings, gpt2, gpt2 ? "gpt2 ties them" : "llama does not");
    }
  }

  void vocabulary() {
    if (job_.model.vocab_size != 0 || !open("model.vocab_size", {"tokenizer.kind", "model"})) return;
    switch (job_.tokenizer.kind) {
      case TokenizerKind::byte: return set("model.vocab_size", job_.model.vocab_size, 256, "the byte tokenizer's");
      case TokenizerKind::gpt2_bpe: return set("model.vocab_size", job_.model.vocab_size, 50257, "GPT-2's tokenizer's");
      case TokenizerKind::huggingface: break;
    }
    missing("model.vocab_size", "write the tokenizer's size, e.g. vocab_size: 32000");
  }

  void lengths() {
    auto& length = job_.training.sequence_length;
    auto& positions = job_.model.max_position_embeddings;
    const bool open_length = length == 0 && !reading_.is_given("training.sequence_length");
    const bool open_positions = positions == 0 && !reading_.is_given("model.max_position_embeddings");
    if (open_length && open_positions) {
      reading_.failed.insert("model.max_position_embeddings");
      reading_.failed.insert("training.sequence_length");
      if (reading_.usable({"training", "model"})) {
        missing("training.sequence_length", "write e.g. sequence_length: 128");
      }
      return;
    }
    if (open_length && open("training.sequence_length", {"model.max_position_embeddings"})) {
      set("training.sequence_length", length, positions, "model.max_position_embeddings");
    }
    if (open_positions && open("model.max_position_embeddings", {"training.sequence_length"})) {
      set("model.max_position_embeddings", positions, length, "training.sequence_length");
    }
  }

  void missing(const std::string& path, std::string remedy) {
    reading_.failed.insert(path);
    reading_.diagnostics.add(reading_.place_of({path.substr(0, path.find('.'))}), "E108", path + " is missing",
                             std::move(remedy));
  }

  void virtual_stages() {
    auto& p = job_.parallelism;
    if (reading_.planned || p.schedule.is_auto() || !open("parallelism.virtual_stages", {"parallelism.schedule"}))
      return;
    const auto name = name_of(p.schedule.value());
    const auto own = pipeline::make_schedule({.name = std::string(name)}).virtual_stages;
    if (own != p.virtual_stages.value()) set("parallelism.virtual_stages", p.virtual_stages, own, name);
  }

  void training() {
    auto& t = job_.training;
    if (reading_.planned) {
      if (!reading_.is_given("training.micro_batch_size")) {
        set("training.micro_batch_size", t.micro_batch_size, Auto<int64_t>{}, "the planner's choice");
      }
      if (!reading_.is_given("training.recompute")) {
        set("training.recompute", t.recompute, Auto<Recompute>{}, "the planner's choice");
      }
    } else if (open("training.micro_batch_size", {"training.global_batch_size", "parallelism.dp", "parallelism.pp",
                                                  "parallelism.schedule", "parallelism.logical_shards"})) {
      set("training.micro_batch_size", t.micro_batch_size, default_micro_batch_size(job_),
          "a replica's share, at most 8");
    }
  }

  void intervals() {
    if (job_.checkpoint.interval && open("checkpoint.interval_steps", {})) {
      set("checkpoint.interval_steps", job_.checkpoint.interval_steps, 0, "checkpoint.interval is given");
    }
    if (job_.logging.sample_prompt && open("logging.sample_interval_steps", {"evaluation.interval_steps"})) {
      set("logging.sample_interval_steps", job_.logging.sample_interval_steps, job_.evaluation.interval_steps,
          "evaluation.interval_steps");
    }
  }

  JobConfig& job_;
  Reading& reading_;
};

}  // namespace

int64_t TrainingSection::total_steps() const {
  if (steps) return *steps;
  if (!tokens) return 0;
  const int64_t per_step = sequence_length * global_batch_size;
  return *tokens / per_step + (*tokens % per_step == 0 ? 0 : 1);
}

int64_t default_micro_batch_size(const JobConfig& job) {
  const int64_t batch = job.training.global_batch_size, least = least_microbatches(job);
  const int64_t share = divide_up(batch, least);
  return std::clamp<int64_t>(divide_up(batch, share) < least ? batch / least : share, 1, 8);
}

void apply_preset(const YamlNode& root, JobConfig& job, Reading& reading) {
  const YamlNode* model = root.find("model");
  const YamlNode* name = model == nullptr ? nullptr : model->find("preset");
  if (name == nullptr || name->kind != YamlNode::Kind::scalar) return;
  if (const auto preset = find_preset(name->text)) {
    static_cast<ModelConfig&>(job.model) = *preset;
    reading.preset = name->text;
    return;
  }
  const Key key{.help = "", .example = "llama-tiny"};
  reading.failed.insert("model.preset");
  refuse_name(*name, preset_names(), {reading.diagnostics, "model.preset", key});
}

void complete(JobConfig& job, Reading& reading, const std::string& file_name) {
  Completion(job, reading).run(file_name);
}

}  // namespace trident::config
