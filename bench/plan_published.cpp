#include "bench/plan_published.h"

#include "train/config/presets.h"

namespace trident::plan {
namespace {

constexpr double kTokensOfPaper = 2048;

ModelConfig preset(const std::string& name) {
  ModelConfig model = config::find_preset(name).value();
  if (model.num_key_value_heads == 0) model.num_key_value_heads = model.num_attention_heads;
  model.head_dim = model.hidden_size / model.num_attention_heads;
  return model;
}

Workload workload(const ModelConfig& model, int64_t length, int64_t batch) {
  Workload result;
  result.model = model;
  result.sequence_length = length;
  result.global_batch_size = batch;
  result.reduction = ReductionKind::fast;
  return result;
}

Layout layout(int64_t tp, int64_t pp, int64_t dp, int64_t virtual_stages, int64_t micro_batch, Recompute recompute,
              bool sequence_parallel) {
  Layout result;
  result.tp = tp, result.pp = pp, result.dp = dp;
  result.virtual_stages = virtual_stages;
  result.schedule = virtual_stages > 1 ? "interleaved" : "1f1b";
  result.micro_batch_size = micro_batch;
  result.recompute = recompute;
  result.sequence_parallel = sequence_parallel;
  return result;
}

// SC21's formula: the FLOPs of a step with full recomputation.
double recomputed_flops(const ModelConfig& m, double batch) {
  const auto l = static_cast<double>(m.num_hidden_layers), h = static_cast<double>(m.hidden_size);
  const auto v = static_cast<double>(m.vocab_size);
  return 96 * batch * kTokensOfPaper * l * h * h * (1 + kTokensOfPaper / 6 / h + v / 16 / l / h);
}

// FLOPs of a token with attention's causal half.
double causal_flops(const ModelConfig& model, int64_t length) {
  return (flops_per_token(model, 0) + flops_per_token(model, length)) / 2;
}

// Narayanan et al. 2021, table 1 (layouts from the repository's scripts) and table 2.
void add_sc21(std::vector<PublishedRow>& rows) {
  struct Entry {
    const char *table, *name;
    int64_t layers, hidden, heads, tp, pp, gpus, batch, micro_batch, virtual_stages;
    double tflops;
    bool fitted;
  };
  const Entry entries[] = {{"A", "1.7B", 24, 2304, 24, 1, 1, 32, 512, 16, 1, 137, false},
                           {"A", "3.6B", 30, 3072, 32, 2, 1, 64, 512, 16, 1, 138, false},
                           {"A", "7.5B", 36, 4096, 32, 4, 1, 128, 512, 16, 1, 142, false},
                           {"A", "18.4B", 40, 6144, 48, 8, 1, 256, 1024, 8, 1, 135, false},
                           {"A", "39.1B", 48, 8192, 64, 8, 2, 512, 1536, 4, 1, 138, false},
                           {"A", "76.1B", 60, 10240, 80, 8, 4, 1024, 1792, 2, 3, 140, false},
                           {"A", "145.6B", 80, 12288, 96, 8, 8, 1536, 2304, 2, 2, 148, true},
                           {"A", "310.1B", 96, 16384, 128, 8, 16, 1920, 2160, 1, 2, 155, false},
                           {"A", "529.6B", 105, 20480, 128, 8, 35, 2520, 2520, 1, 3, 163, false},
                           {"A", "1008B", 128, 25600, 160, 8, 64, 3072, 3072, 1, 1, 163, false},
                           {"SC21-2", "174.6B, 384", 96, 12288, 96, 8, 12, 384, 1536, 1, 1, 153, false},
                           {"SC21-2", "174.6B, 768", 96, 12288, 96, 8, 12, 768, 1536, 1, 1, 149, false},
                           {"SC21-2", "174.6B, 1536", 96, 12288, 96, 8, 12, 1536, 1536, 1, 1, 141, false},
                           {"SC21-2", "529.6B, 560", 105, 20480, 128, 8, 35, 560, 2240, 1, 1, 171, false},
                           {"SC21-2", "529.6B, 1120", 105, 20480, 128, 8, 35, 1120, 2240, 1, 1, 167, false},
                           {"SC21-2", "529.6B, 2240", 105, 20480, 128, 8, 35, 2240, 2240, 1, 1, 159, false}};
  for (const Entry& e : entries) {
    const ModelConfig model = published_gpt(e.layers, e.hidden, e.heads);
    rows.push_back(
        {e.table, e.name, workload(model, 2048, e.batch),
         layout(e.tp, e.pp, e.gpus / e.tp / e.pp, e.virtual_stages, e.micro_batch, Recompute::full, false),
         recomputed_flops(model, static_cast<double>(e.batch)) / static_cast<double>(e.gpus) / (e.tflops * 1e12),
         e.fitted});
  }
}

// Korthikanti et al. 2022, table 5: full recomputation, and selective with sequence parallelism.
void add_recomputation(std::vector<PublishedRow>& rows) {
  struct Entry {
    const char* name;
    int64_t layers, hidden, heads, pp, virtual_stages, batch, micro_batch, dp;
    double full, selective;
    bool full_fitted, selective_fitted;
  };
  const Entry entries[] = {{"22B", 48, 6144, 64, 1, 1, 4, 4, 1, 1.42, 1.10, false, true},
                           {"175B", 96, 12288, 96, 8, 3, 64, 1, 1, 18.13, 13.75, true, false},
                           {"530B", 105, 20480, 128, 35, 3, 280, 1, 1, 49.05, 37.83, false, false},
                           {"1T", 128, 25600, 160, 64, 1, 512, 1, 1, 94.42, 71.49, false, false},
                           {"530B, dp 8", 105, 20480, 128, 35, 3, 2240, 1, 8, 0, 39.15, false, false}};
  for (const Entry& e : entries) {
    const Workload work = workload(published_gpt(e.layers, e.hidden, e.heads), 2048, e.batch);
    if (e.full > 0)
      rows.push_back({"C full", e.name, work,
                      layout(8, e.pp, e.dp, e.virtual_stages, e.micro_batch, Recompute::full, false), e.full,
                      e.full_fitted});
    rows.push_back({"C new", e.name, work,
                    layout(8, e.pp, e.dp, e.virtual_stages, e.micro_batch, Recompute::selective, true), e.selective,
                    e.selective_fitted});
  }
}

// Qi et al. 2024, 1F1B and ZB-1p (which has ZB-H1's memory): samples per GPU and second.
void add_zero_bubble(std::vector<PublishedRow>& rows) {
  struct Entry {
    const char* name;
    int64_t layers, hidden, heads, micro_batch, pp, microbatches;
    double one_f_one_b, split;
  };
  const Entry entries[] = {
      {"1.5B, 24", 22, 2304, 24, 6, 8, 24, 11.8, 12.9},   {"1.5B, 32", 22, 2304, 24, 6, 8, 32, 12.5, 13.4},
      {"1.5B, 64", 22, 2304, 24, 6, 8, 64, 13.6, 14.2},   {"14.6B, 48", 46, 5120, 40, 1, 16, 48, 1.40, 1.61},
      {"14.6B, 64", 46, 5120, 40, 1, 16, 64, 1.49, 1.67}, {"14.6B, 128", 46, 5120, 40, 1, 16, 128, 1.64, 1.76}};
  for (const Entry& e : entries) {
    const int64_t batch = e.micro_batch * e.microbatches;
    const Workload work = workload(published_gpt(e.layers, e.hidden, e.heads), 1024, batch);
    Layout chosen = layout(1, e.pp, 1, 1, e.micro_batch, Recompute::none, false);
    const double of_a_gpu = static_cast<double>(batch) / static_cast<double>(e.pp);
    rows.push_back({"F 1F1B", e.name, work, chosen, of_a_gpu / e.one_f_one_b, false});
    chosen.schedule = "zb-h1";
    rows.push_back({"F ZB-1p", e.name, work, chosen, of_a_gpu / e.split, false});
  }
}

// Llama 3 (2024), table 4. Its TFLOP/s are taken to count attention's causal half; of virtual stages the paper does
// not give the number: 4 for 16 microbatches, 7 for 32.
void add_llama3(std::vector<PublishedRow>& rows) {
  struct Entry {
    const char* name;
    int64_t gpus, cp, dp, length, batch, virtual_stages;
    double tflops;
    bool fitted;
  };
  const Entry entries[] = {{"405B, 8192", 8192, 1, 64, 8192, 2048, 7, 430, true},
                           {"405B, 16384", 16384, 1, 128, 8192, 2048, 4, 400, false},
                           {"405B, 131072 tokens", 16384, 16, 8, 131072, 128, 4, 380, true}};
  const ModelConfig model = preset("llama-3.1-405b");
  for (const Entry& e : entries) {
    Layout chosen = layout(8, 16, e.dp, e.virtual_stages, 1, Recompute::selective, true);
    chosen.cp = e.cp;
    const Workload work = workload(model, e.length, e.batch);
    rows.push_back({"E", e.name, work, chosen,
                    work.tokens() * causal_flops(model, e.length) / static_cast<double>(e.gpus) / (e.tflops * 1e12),
                    e.fitted});
  }
}

// NVIDIA NeMo's performance summary, bf16: tokens per second and GPU. Batches are what the summary gives.
void add_nemo(std::vector<PublishedRow>& rows) {
  struct Entry {
    const char* name = "";
    ModelConfig model;
    int64_t gpus = 0, tp = 0, pp = 0, cp = 0, virtual_stages = 0, length = 0, batch = 0;
    double tokens = 0;
    bool fitted = false;
  };
  ModelConfig gpt3 = published_gpt(96, 12288, 96);
  const Entry entries[] = {{"Llama 3.1 8B", preset("llama-3-8b"), 8, 1, 1, 2, 1, 8192, 128, 10253, false},
                           {"Llama 3.1 70B", preset("llama-3-70b"), 64, 4, 4, 2, 5, 8192, 128, 1121, true},
                           {"Llama 3.1 405B", preset("llama-3.1-405b"), 576, 8, 9, 2, 7, 8192, 252, 205, false},
                           {"GPT-3 175B", gpt3, 128, 4, 8, 1, 12, 2048, 256, 493, false}};
  for (const Entry& e : entries) {
    Layout chosen = layout(e.tp, e.pp, e.gpus / e.tp / e.pp / e.cp, e.virtual_stages, 1, Recompute::none, true);
    chosen.cp = e.cp;
    const Workload work = workload(e.model, e.length, e.batch);
    rows.push_back({"NeMo", e.name, work, chosen, work.tokens() / static_cast<double>(e.gpus) / e.tokens, e.fitted});
  }
}

// llm.c's GPT-2 runs on one node, which compute the activation function again: seconds of a step.
void add_llm_c(std::vector<PublishedRow>& rows) {
  struct Entry {
    const char* name;
    int64_t layers, hidden, heads, batch, micro_batch;
    double step_s;
  };
  for (const Entry& e :
       {Entry{"GPT-2 124M", 12, 768, 12, 512, 64, 0.140}, Entry{"GPT-2 1558M", 48, 1600, 25, 1024, 16, 2.80}}) {
    ModelConfig model = published_gpt(e.layers, e.hidden, e.heads);
    model.vocab_size = 50304;
    rows.push_back({"llm.c", e.name, workload(model, 1024, e.batch),
                    layout(1, 1, 8, 1, e.micro_batch, Recompute::selective, false), e.step_s, false});
  }
}

}  // namespace

ModelConfig published_gpt(int64_t layers, int64_t hidden, int64_t heads) {
  ModelConfig model;
  model.architecture = Architecture::gpt2;
  model.hidden_size = hidden;
  model.intermediate_size = 4 * hidden;
  model.num_hidden_layers = layers;
  model.num_attention_heads = model.num_key_value_heads = heads;
  model.head_dim = hidden / heads;
  model.vocab_size = 51200;
  model.max_position_embeddings = 2048;
  model.tie_word_embeddings = true;
  return model;
}

std::vector<PublishedRow> published_on_a100() {
  std::vector<PublishedRow> rows;
  add_sc21(rows);
  add_recomputation(rows);
  add_zero_bubble(rows);
  return rows;
}

std::vector<PublishedRow> published_on_h100() {
  std::vector<PublishedRow> rows;
  add_llama3(rows);
  add_nemo(rows);
  add_llm_c(rows);
  return rows;
}

}  // namespace trident::plan
