#include "data/training_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "data/permutation.h"

namespace trident {
namespace {

constexpr const char* component = "data/training_data";

Mixture mixture_of(const TrainingDataConfig& config) {
  if (config.sources.empty()) {
    throw Error(ErrorCode::config, component, "no data set to train on", "name one under data.train");
  }
  std::vector<double> weights;
  for (const auto& source : config.sources) weights.push_back(source.weight);
  return Mixture(weights);
}

}  // namespace

TrainingData::TrainingData(const TrainingDataConfig& config)
    : mixture_(mixture_of(config)),
      sequence_length_(config.sequence_length),
      seed_(config.seed),
      shuffle_(config.shuffle) {
  TRIDENT_CHECK(sequence_length_ > 0 && sequence_length_ < int64_t{1} << 31);
  for (const auto& [path, weight] : config.sources) {
    IndexedDataset data(path, config.vocab_size);
    const int64_t samples = (data.tokens() - 1) / sequence_length_;
    if (data.tokens() < sequence_length_ + 1) {
      throw Error(
          ErrorCode::bad_data, component,
          fmt::format("{} has {} tokens, but one sample of training.sequence_length {} needs {}", data.bin_path(),
                      data.tokens(), sequence_length_, sequence_length_ + 1),
          data.tokens() < 2
              ? "give a larger data set"
              : fmt::format("give a larger data set or set training.sequence_length to at most {}", data.tokens() - 1));
    }
    data.advise(shuffle_ ? MappedFile::Access::random : MappedFile::Access::sequential);
    samples_per_epoch_ += samples;
    sources_.push_back({std::move(data), samples});
  }
}

int64_t TrainingData::tokens() const {
  int64_t sum = 0;
  for (const auto& source : sources_) sum += source.data.tokens();
  return sum;
}

TrainingData::Location TrainingData::locate(int64_t sample) const {
  const auto [source, index] = mixture_.at(sample);
  const int64_t samples = sources_[static_cast<size_t>(source)].samples;
  const int64_t epoch = index / samples;
  int64_t place = index % samples;
  if (shuffle_) {
    place = Permutation(samples, seed_, static_cast<uint64_t>(source), static_cast<uint64_t>(epoch))(place);
  }
  return {source, epoch, place * sequence_length_};
}

void TrainingData::fill(TokenBatch& batch, int64_t first_sample, int64_t count) const {
  TRIDENT_CHECK(first_sample >= 0 && count >= 0);
  batch.reset(count, sequence_length_);
  for (int64_t row = 0; row < count; ++row) {
    const Location where = locate(first_sample + row);
    batch.add_row(sources_[static_cast<size_t>(where.source)].data, where.first_token);
  }
}

}  // namespace trident
