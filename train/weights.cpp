#include "train/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <type_traits>

#include "checkpoint/huggingface.h"
#include "core/atomic_file.h"
#include "train/config/config.h"
#include "checkpoint/logical_block.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

// Elements that a buffer holds, unless one row has more.
constexpr int64_t kElementsAtOnce = int64_t{1} << 20;

template <class From, class To>
void copy_columns(const LogicalBlock& block, std::span<const From> rows, int64_t columns, To* out) {
  const int64_t count = std::ssize(rows) / columns;
  for (int64_t row = 0; row < count; ++row) {
    const From* from = rows.data() + row * columns + block.column0;
    std::transform(from, from + block.columns, out + row * block.columns,
                   [](From value) { return static_cast<To>(value); });
  }
}

// Reads the local part as T: at once into its place where it is whole rows of T, otherwise by bands of whole rows.
template <class T, class To, class Source>
void fill_part(Source& source, const Parameter& parameter, To* out) {
  const LogicalBlock whole = whole_block(parameter.global_shape), block = block_of(parameter);
  if constexpr (std::is_same_v<T, To>) {
    if (block.columns == whole.columns)
      return source.read(parameter.name, block.row0, block.rows, std::span(out, static_cast<size_t>(block.elements())));
  }
  const int64_t band = std::clamp<int64_t>(kElementsAtOnce / whole.columns, 1, std::max<int64_t>(1, block.rows));
  std::vector<T> buffer;
  for (int64_t row = 0; row < block.rows; row += band) {
    const int64_t rows = std::min(band, block.rows - row);
    buffer.resize(static_cast<size_t>(rows * whole.columns));
    source.read(parameter.name, block.row0 + row, rows, std::span(buffer));
    copy_columns(block, std::span<const T>(buffer), whole.columns, out + row * block.columns);
  }
}

// Gives every parameter of the storage, whatever part of its logical tensor that is, its values from `source`, a
// HuggingFaceReader or WeightGatherer. Where the storage has released its master weights: the compute weights alone.
template <class Source>
void fill(Source& source, ParameterStorage& storage, const Stream& stream) {
  for (const Parameter* parameter : storage.parameters()) {
    const bool released = !storage.master().defined();
    const Tensor target = released ? parameter->value : storage.master_of(*parameter);
    switch (target.dtype()) {
      case DType::fp64: fill_part<double>(source, *parameter, target.data<double>()); break;
      case DType::fp32: fill_part<float>(source, *parameter, target.data<float>()); break;
      case DType::bf16: fill_part<float>(source, *parameter, target.data<bfloat16>()); break;
      case DType::int32: TRIDENT_CHECK(false, parameter->name);
    }
  }
  storage.refresh_compute_weights(stream);
}

HuggingFaceExport export_options(const JobConfig& job) {
  HuggingFaceExport options;
  options.overwrite = true;
  options.byte_tokenizer = job.tokenizer.kind == config::TokenizerKind::byte;
  if (job.tokenizer.path) options.tokenizer_files = tokenizer_files_in(*job.tokenizer.path);
  return options;
}

std::string read_first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The newest checkpoint of a run, by its `latest` file.
std::optional<fs::path> latest_checkpoint(const RunDirectory& run) {
  const std::string name = read_first_line(run.latest());
  if (name.empty() || name.find('/') != std::string::npos) return std::nullopt;
  const fs::path folder = run.checkpoints() / name;
  if (!fs::exists(folder / "config.json")) return std::nullopt;
  return folder;
}

bool has_tokenizer(const fs::path& folder) {
  return fs::exists(folder / "tokenizer.json") || fs::exists(folder / "vocab.bpe") || fs::exists(folder / "merges.txt");
}

void refuse_other_model(const ModelConfig& found, const ModelConfig& wanted, const fs::path& folder) {
  std::string problems;
  const auto compare = [&](const char* key, auto theirs, auto ours) {
    if (theirs == ours) return;
    problems += fmt::format("{}{}: {} there, {} in the job", problems.empty() ? "" : "; ", key, theirs, ours);
  };
  compare("architecture", to_string(found.architecture), to_string(wanted.architecture));
  compare("hidden_size", found.hidden_size, wanted.hidden_size);
  compare("intermediate_size", found.intermediate_size, wanted.intermediate_size);
  compare("num_hidden_layers", found.num_hidden_layers, wanted.num_hidden_layers);
  compare("num_attention_heads", found.num_attention_heads, wanted.num_attention_heads);
  compare("num_key_value_heads", found.num_key_value_heads, wanted.num_key_value_heads);
  compare("head_dim", found.head_dim, wanted.head_dim);
  compare("vocab_size", found.vocab_size, wanted.vocab_size);
  compare("tie_word_embeddings", found.tie_word_embeddings, wanted.tie_word_embeddings);
  compare("norm epsilon", found.norm_eps, wanted.norm_eps);
  if (wanted.architecture == Architecture::llama) compare("rope_theta", found.rope_theta, wanted.rope_theta);
  if (wanted.architecture == Architecture::gpt2)
    compare("max_position_embeddings", found.max_position_embeddings, wanted.max_position_embeddings);
  if (!problems.empty())
    throw Error(ErrorCode::config, "weights", folder.string() + " holds another model: " + problems,
                "change the job's model section, or point checkpoint.resume elsewhere");
}

}  // namespace

fs::path write_weights(const RunDirectory& run, int64_t step, const JobConfig& job, WeightGatherer& gatherer) {
  fs::path folder = run.checkpoint(step);
  const TensorSource source = [&](const std::string& name, int64_t row0, int64_t rows, std::span<float> out) {
    gatherer.read(name, row0, rows, out);
  };
  gatherer.run([&] {
    export_huggingface(folder, job.model, source, export_options(job));
    write_file_atomically(run.latest(), folder.filename().string() + "\n");
  });
  return folder;
}

void gather_weights(WeightGatherer& gatherer, ParameterStorage* whole, const Stream& stream) {
  gatherer.run([&] {
    TRIDENT_CHECK(whole != nullptr, "rank 0 gives the storage");
    fill(gatherer, *whole, stream);
  });
}

std::optional<fs::path> initial_weights(const JobConfig& job, const RunDirectory& run) {
  using Kind = config::Resume::Kind;
  const config::Resume& resume = job.checkpoint.resume;
  if (resume.kind == Kind::path) return find_model(resume.path).folder;
  if (resume.kind == Kind::step) return find_model(run.checkpoint(resume.step)).folder;
  if (resume.kind == Kind::automatic && fs::exists(run.checkpoint(0) / "config.json")) return run.checkpoint(0);
  return std::nullopt;
}

void load_weights(const fs::path& folder, const ModelConfig& config, ParameterStorage& storage, const Stream& stream) {
  const HuggingFaceReader reader(folder);
  refuse_other_model(reader.config(), config, folder);
  load_weights(reader, storage, stream);
}

void load_weights(const HuggingFaceReader& reader, ParameterStorage& storage, const Stream& stream) {
  fill(reader, storage, stream);
}

std::vector<fs::path> tokenizer_files_in(const fs::path& path) {
  const fs::path folder = fs::is_directory(path) ? path : path.parent_path();
  std::vector<fs::path> files;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.bpe",
                           "encoder.json", "vocab.json", "merges.txt"}) {
    if (fs::exists(folder / name)) files.push_back(folder / name);
  }
  return files;
}

ModelSource find_model(const fs::path& path) {
  fs::path folder = path;
  if (const RunDirectory run(path); fs::exists(run.latest())) {
    const auto latest = latest_checkpoint(run);
    if (!latest)
      throw Error(ErrorCode::input_missing, "weights", run.latest().string() + " names no checkpoint that is there",
                  "give the checkpoint's folder itself");
    folder = *latest;
  }
  if (!fs::exists(folder / "config.json")) {
    throw Error(ErrorCode::input_missing, "weights", path.string() + " is neither a run nor a Hugging Face directory",
                "a run has checkpoints/latest, a Hugging Face directory has config.json and model.safetensors");
  }
  return {folder, has_tokenizer(folder) ? folder.string() : std::string()};
}

}  // namespace trident
