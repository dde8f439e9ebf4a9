#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/indexed_dataset.h"
#include "data/mixture.h"
#include "data/token_batch.h"

namespace trident {

struct TrainingDataConfig {
  struct Source {
    std::string path{};  ///< as IndexedDataset takes it
    double weight = 1.0;
  };
  std::vector<Source> sources{};
  int64_t sequence_length = 0;
  int64_t vocab_size = 0;
  uint64_t seed = 0;
  bool shuffle = true;
};

/// What a job trains on: an endless order of samples, each L+1 tokens of one data set.
///
/// Sample g is a pure function of (configuration, g), so the position in the data is the one integer g, and step s
/// consumes samples s·G … s·G+G−1 whatever the layout. Sources are interleaved by Mixture; each goes through its own
/// epochs of floor((T−1)/L) samples, sample i being tokens [i·L, i·L+L], shuffled by Permutation or in file order.
class TrainingData {
 public:
  /// Opens and checks every data set. Throws Error; a data set of fewer than L+1 tokens is refused.
  explicit TrainingData(const TrainingDataConfig& config);

  /// Samples that all data sets hold together.
  int64_t samples_per_epoch() const { return samples_per_epoch_; }
  int64_t tokens() const;
  int64_t sequence_length() const { return sequence_length_; }

  struct Location {
    int64_t source;
    int64_t epoch;
    int64_t first_token;  ///< in the source's token stream
  };
  Location locate(int64_t sample) const;

  /// Samples first_sample … first_sample + count − 1. Throws Error on a token outside the vocabulary.
  void fill(TokenBatch& batch, int64_t first_sample, int64_t count) const;

 private:
  struct Source {
    IndexedDataset data;
    int64_t samples;
  };

  std::vector<Source> sources_;
  Mixture mixture_;
  int64_t sequence_length_;
  int64_t samples_per_epoch_ = 0;
  uint64_t seed_;
  bool shuffle_;
};

}  // namespace trident
