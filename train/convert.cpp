#include "train/convert.h"

#include <optional>
#include <span>
#include <string>
#include <system_error>

#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/checkpoint_root.h"
#include "checkpoint/huggingface.h"
#include "checkpoint/rank_file.h"
#include "train/checkpoint_facts.h"
#include "train/export_check.h"
#include "train/flat_weights.h"
#include "train/metrics/run_directory.h"
#include "train/model_weights.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

// A checkpoint's tokenizer is copied only as it was saved.
void verify_tokenizer(const fs::path& folder, const std::vector<fs::path>& files) {
  if (!fs::exists(folder / Manifest::kFileName)) return;
  CheckpointReader checkpoint(folder);
  for (const fs::path& file : files) (void)checkpoint.extra_file(file.filename().string());
}

/// A run that is being made: gone again unless it is finished.
class NewRun {
 public:
  NewRun(const fs::path& path, const std::string& id) : run_(path), existed_(run_.exists()), root_(run_.checkpoints()) {
    run_.create();
    temporary_ = root_.temporary(0, id);
  }
  ~NewRun() {
    std::error_code ignored;
    lease_.reset();
    if (!finished_) fs::remove_all(existed_ ? temporary_ : run_.root(), ignored);
  }
  NewRun(const NewRun&) = delete;
  NewRun& operator=(const NewRun&) = delete;

  [[nodiscard]] std::string take_lease() {
    std::string id = run_id_of(run_);
    lease_.emplace(root_, id);
    (void)root_.sweep(posix_file_system());
    return id;
  }
  [[nodiscard]] const CheckpointRoot& root() const { return root_; }
  [[nodiscard]] const fs::path& temporary() const { return temporary_; }
  void finish() { finished_ = true; }

 private:
  RunDirectory run_;
  bool existed_;
  CheckpointRoot root_;
  fs::path temporary_;
  std::optional<WriterLease> lease_;
  bool finished_ = false;
};

std::vector<Attachment> attachments_of(const HuggingFaceReader& weights, const fs::path& folder) {
  HuggingFaceExport options;
  options.special_tokens = weights.special_tokens();
  options.tokenizer_files = tokenizer_files_in(folder);
  return companion_files(weights.config(), options);
}

// One rank's file with everything in it.
RankFile write_weights(FlatWeights& weights, const fs::path& folder, const std::string& run_id) {
  RankFileHeader header;
  header.run_id = run_id;
  header.moments = false;
  header.elements = weights.elements();
  header.tensors = weights.tensors();
  header.segments = weights.segments();
  return write_rank_file(posix_file_system(), folder, header, [&](StateKind kind, int64_t begin, int64_t count) {
    TRIDENT_CHECK(kind == StateKind::master, "there are no moments");
    return weights.bytes(begin, count);
  });
}

}  // namespace

Conversion export_model(const fs::path& source, const fs::path& out, DType dtype, bool overwrite) {
  const ModelWeights weights(source);
  HuggingFaceExport options;
  options.dtype = dtype;
  options.overwrite = overwrite;
  options.special_tokens = weights.special_tokens();
  options.tokenizer_files = tokenizer_files_in(weights.folder());
  verify_tokenizer(weights.folder(), options.tokenizer_files);
  std::string check;
  options.check = [&](const fs::path& written) { check = check_export(weights, written, dtype); };
  export_huggingface(
      out, weights.config(),
      [&](const std::string& name, int64_t row0, int64_t rows, std::span<float> to) {
        weights.read(name, row0, rows, to);
      },
      options);
  return {out, parameter_count(weights.config()), check};
}

Conversion import_model(const fs::path& huggingface, const fs::path& run) {
  if (!CheckpointRoot(RunDirectory(run).checkpoints()).list().empty()) {
    throw Error(ErrorCode::usage, "import", run.string() + " is a run that has checkpoints already",
                "choose another --out, or remove it first");
  }
  if (fs::exists(huggingface / Manifest::kFileName)) {
    throw Error(ErrorCode::usage, "import", huggingface.string() + " is a checkpoint of Trident's own",
                "train from it with checkpoint.weights=" + huggingface.string());
  }
  const HuggingFaceReader source(huggingface);
  FlatWeights weights(source);
  NewRun made(run, random_id());
  Manifest manifest;
  manifest.run_id = made.take_lease();
  posix_file_system().create_directory(made.temporary());
  manifest.rank_files.push_back(write_weights(weights, made.temporary(), manifest.run_id));
  const auto attachments = attachments_of(source, huggingface);
  manifest.moments = false;
  manifest.config_hash = hash_bytes(attachments.front().content);
  manifest.tokenizer_hash = tokenizer_hash(attachments);
  manifest.tensors = weights.tensors();
  manifest.digests = weights.digests();
  const fs::path folder = commit_checkpoint(posix_file_system(), made.root(), made.temporary(), manifest, attachments);
  made.finish();
  return {folder, parameter_count(source.config()), {}};
}

}  // namespace trident
