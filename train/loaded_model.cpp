#include "train/loaded_model.h"

#include "train/weights.h"

namespace trident {

const Tokenizer& LoadedModel::require_tokenizer() const {
  if (tokenizer) return *tokenizer;
  throw Error(ErrorCode::input_missing, "tokenizer", "the model's directory has no tokenizer.json or vocab.bpe",
              "put one there, or work with token ids (--ids)");
}

LoadedModel load_model(const std::filesystem::path& path, DType compute, const Stream& stream) {
  const ModelWeights weights(path);
  LoadedModel loaded;
  loaded.model = std::make_unique<Model>(weights.config(), compute, Recompute::none, stream);
  load_weights(weights, loaded.model->storage(), stream);
  if (const std::string tokenizer = weights.tokenizer(); !tokenizer.empty())
    loaded.tokenizer = load_tokenizer(tokenizer);
  return loaded;
}

}  // namespace trident
