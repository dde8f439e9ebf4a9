#include "train/convert.h"

#include "checkpoint/huggingface.h"
#include "core/atomic_file.h"
#include "train/metrics/run_directory.h"
#include "train/model_weights.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

Conversion convert(const fs::path& from, const fs::path& to, DType dtype, bool overwrite) {
  const ModelWeights reader(from);
  HuggingFaceExport options;
  options.dtype = dtype;
  options.overwrite = overwrite;
  options.special_tokens = reader.special_tokens();
  options.tokenizer_files = tokenizer_files_in(reader.folder());
  export_huggingface(
      to, reader.config(),
      [&](const std::string& name, int64_t row0, int64_t rows, std::span<float> out) {
        reader.read(name, row0, rows, out);
      },
      options);
  return {to, parameter_count(reader.config())};
}

}  // namespace

Conversion export_model(const fs::path& source, const fs::path& out, DType dtype, bool overwrite) {
  return convert(source, out, dtype, overwrite);
}

Conversion import_model(const fs::path& huggingface, const fs::path& run) {
  const RunDirectory directory(run);
  if (fs::exists(directory.latest())) {
    throw Error(ErrorCode::usage, "import", run.string() + " is a run that has checkpoints already",
                "choose another --out, or remove it first");
  }
  directory.create();
  Conversion result = convert(huggingface, directory.checkpoint(0), DType::fp32, false);
  write_file_atomically(directory.latest(), result.folder.filename().string() + "\n");
  return result;
}

}  // namespace trident
