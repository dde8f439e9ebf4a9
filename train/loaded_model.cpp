#include "train/loaded_model.h"

#include "checkpoint/huggingface.h"
#include "train/weights.h"

namespace trident {

const Tokenizer& LoadedModel::require_tokenizer() const {
  if (tokenizer) return *tokenizer;
  throw Error(ErrorCode::input_missing, "tokenizer", "the model's directory has no tokenizer.json or vocab.bpe",
              "put one there, or work with token ids (--ids)");
}

LoadedModel load_model(const std::filesystem::path& path, DType compute, const Stream& stream) {
  const ModelSource source = find_model(path);
  const HuggingFaceReader reader(source.folder);
  LoadedModel loaded;
  loaded.model = std::make_unique<Model>(reader.config(), compute, Recompute::none, stream);
  load_weights(reader, loaded.model->storage(), stream);
  if (!source.tokenizer.empty()) loaded.tokenizer = load_tokenizer(source.tokenizer);
  return loaded;
}

}  // namespace trident
