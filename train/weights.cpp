#include "train/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "checkpoint/logical_block.h"
#include "core/error.h"
#include "core/memory.h"

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
// ModelWeights or WeightGatherer. Where the storage has released its master weights: the compute weights alone.
template <class Source>
void fill(Source& source, ParameterStorage& storage, const Stream& stream) {
  for (const Parameter* parameter : storage.parameters()) {
    const bool released = !storage.master().defined();
    const Tensor target = released ? parameter->value : storage.master_of(*parameter);
    write_from_host(stream, target, [&](Tensor& host) {
      switch (host.dtype()) {
        case DType::fp64: return fill_part<double>(source, *parameter, host.data<double>());
        case DType::fp32: return fill_part<float>(source, *parameter, host.data<float>());
        case DType::bf16: return fill_part<float>(source, *parameter, host.data<bfloat16>());
        case DType::int32: TRIDENT_CHECK(false, parameter->name);
      }
    });
  }
  storage.refresh_compute_weights(stream);
}

}  // namespace

void gather_weights(WeightGatherer& gatherer, ParameterStorage* whole, const Stream& stream) {
  gatherer.run([&] {
    TRIDENT_CHECK(whole != nullptr, "rank 0 gives the storage");
    fill(gatherer, *whole, stream);
  });
}

void load_weights(const ModelWeights& weights, ParameterStorage& storage, const Stream& stream) {
  fill(weights, storage, stream);
}

void require_same_model(const ModelConfig& found, const ModelConfig& wanted, const fs::path& source) {
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
    throw Error(ErrorCode::config, "weights", source.string() + " holds another model: " + problems,
                "change the job's model section, or point checkpoint.resume elsewhere");
}

}  // namespace trident
