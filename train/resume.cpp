#include "train/resume.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <utility>

#include "checkpoint/checkpoint_reader.h"
#include "core/error.h"
#include "parallel/comm/exchange_text.h"
#include "train/checkpoint_facts.h"
#include "train/load_proof.h"
#include "train/model_weights.h"
#include "train/weights.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> folders_of(const CheckpointRoot& root) {
  std::vector<fs::path> folders;
  for (const auto& entry : root.list()) folders.push_back(entry.folder);
  return folders;
}

ResumePlan plan_from_path(const fs::path& path) {
  if (fs::exists(path / Manifest::kFileName)) return {{path}, {}};
  ResumePlan plan{folders_of(CheckpointRoot(RunDirectory(path).checkpoints())), {}};
  if (plan.checkpoints.empty()) plan.weights = path;
  return plan;
}

std::optional<fs::path> given_weights(const JobConfig& job) {
  if (!job.checkpoint.weights) return std::nullopt;
  const fs::path path = *job.checkpoint.weights;
  if (fs::is_directory(path)) return path;
  throw Error(ErrorCode::input_missing, "checkpoint.weights", path.string() + " is no folder",
              "name a run, a checkpoint or a Hugging Face directory");
}

std::optional<Manifest> first_readable(const ResumePlan& plan) {
  for (const fs::path& folder : plan.checkpoints) {
    try {
      return read_manifest(folder);
    } catch (const Error&) {
      continue;  // told of when it is loaded
    }
  }
  return std::nullopt;
}

// What a rank says of one candidate.
struct Attempt {
  std::string error;
  bool of_job = false;  // the job's mistake, not damage: an older checkpoint would not help
};

std::string encode(const Attempt& attempt) {
  return nlohmann::json{{"error", attempt.error}, {"of_job", attempt.of_job}}.dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Attempt decode_attempt(const std::string& text) {
  const auto words = nlohmann::json::parse(text);
  return {words.at("error"), words.at("of_job")};
}

void require_same_training(CheckpointReader& checkpoint, const JobConfig& job, const SavedState& state) {
  require_same_model(model_of(checkpoint).model, job.model, checkpoint.folder());
  const Manifest& manifest = checkpoint.manifest();
  const auto refuse = [&](const std::string& what, const std::string& remedy) {
    throw Error(ErrorCode::config, "resume", checkpoint.folder().string() + ": " + what, remedy);
  };
  if (manifest.tensors != state.tensors())
    refuse(fmt::format("it has {} tensors, the job's model {}, or their names or shapes differ",
                       manifest.tensors.size(), state.tensors().size()),
           "change the job's model section, or point checkpoint.resume elsewhere");
  // Weights alone may be of a model from elsewhere: they convert.
  if (manifest.moments && manifest.dtype != state.dtype())
    refuse(fmt::format("its state is {}, the job's {}", to_string(manifest.dtype), to_string(state.dtype())),
           "set precision.compute to what the run began with");
  if (manifest.step > 0 && manifest.seed != static_cast<uint64_t>(job.run.seed))
    refuse(fmt::format("run.seed is {} there and {} in the job: samples would repeat or be skipped", manifest.seed,
                       job.run.seed),
           "keep the run's seed");
  if (manifest.step > 0 && manifest.tokenizer_hash != tokenizer_hash(job))
    refuse(fmt::format("its tokenizer has the hash {}, the job's {}", to_hex(manifest.tokenizer_hash),
                       to_hex(tokenizer_hash(job))),
           "use the run's tokenizer: its files lie in the checkpoint");
}

std::vector<PartialDigest> digests_of(const Manifest& manifest) {
  std::vector<PartialDigest> digests;
  for (size_t tensor = 0; tensor < manifest.tensors.size(); ++tensor)
    digests.push_back({static_cast<int32_t>(tensor), 0, manifest.digests[tensor]});
  return digests;
}

/// Loads one candidate on every rank; what the first rank that failed says.
Attempt load_everywhere(const fs::path& folder, const JobConfig& job, const SavedState& state,
                        const Communicator& world, ResumePoint& point) {
  Attempt mine;
  std::vector<PartialDigest> digests;
  Manifest manifest;
  try {
    CheckpointReader checkpoint(folder);
    require_same_training(checkpoint, job, state);
    digests = state.load(checkpoint.rectangles());
    manifest = checkpoint.manifest();
  } catch (const NewerFormat& error) {
    mine = {error.what(), true};
  } catch (const Error& error) {
    mine = {error.what(), error.code() == ErrorCode::config || error.code() == ErrorCode::internal};
  }
  const auto texts = all_gather_text(world, encode(mine));
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    Attempt attempt = decode_attempt(texts[rank]);
    if (attempt.error.empty()) continue;
    if (world.size() > 1) attempt.error = fmt::format("rank {}: {}", rank, attempt.error);
    return attempt;
  }
  point = {manifest.step, manifest.consumed_samples, folder};
  if (manifest.dtype != state.dtype()) return {};  // converted: digests are of other bits, and blocks were verified
  const auto expected = world.rank() == 0 ? digests_of(manifest) : std::vector<PartialDigest>{};
  return {wrong_digest(manifest.tensors, manifest.states(), digests, expected, world), false};
}

}  // namespace

ResumePlan plan_resume(const JobConfig& job, const RunDirectory& run) {
  using Kind = config::Resume::Kind;
  const config::Resume& resume = job.checkpoint.resume;
  const CheckpointRoot root(run.checkpoints());
  ResumePlan own{folders_of(root), {}};
  if (own.checkpoints.empty()) own.weights = given_weights(job);
  switch (resume.kind) {
    case Kind::automatic: return own;
    case Kind::never:
      if (own.checkpoints.empty()) return own;
      throw Error(ErrorCode::config, "checkpoint.resume",
                  fmt::format("never, but {} has {} checkpoints, the newest {}", run.root().string(),
                              own.checkpoints.size(), own.checkpoints.front().filename().string()),
                  "choose another run.name, remove the old run, or set checkpoint.resume: auto");
    case Kind::step:
      if (fs::exists(root.folder(resume.step) / Manifest::kFileName)) return {{root.folder(resume.step)}, {}};
      throw Error(ErrorCode::input_missing, "checkpoint.resume",
                  fmt::format("{} is not there", root.folder(resume.step).string()),
                  "trident checkpoint list " + run.root().string() + " shows the steps that there are");
    case Kind::path: return own.checkpoints.empty() ? plan_from_path(resume.path) : own;
  }
  return own;
}

ResumePlan agree_on_plan(const ResumePlan& plan, const Communicator& world) {
  nlohmann::json words = {{"checkpoints", nlohmann::json::array()}, {"weights", nullptr}};
  for (const fs::path& folder : plan.checkpoints) words["checkpoints"].push_back(folder.string());
  if (plan.weights) words["weights"] = plan.weights->string();
  words = nlohmann::json::parse(broadcast_text(world, words.dump()));
  ResumePlan agreed;
  for (const auto& folder : words["checkpoints"]) agreed.checkpoints.emplace_back(folder.get<std::string>());
  if (!words["weights"].is_null()) agreed.weights = words["weights"].get<std::string>();
  return agreed;
}

int64_t newest_step(const ResumePlan& plan) {
  const auto manifest = first_readable(plan);
  return manifest ? manifest->step : -1;
}

SpecialTokens special_tokens_of(const ResumePlan& plan) {
  std::vector<fs::path> folders = plan.checkpoints;
  if (plan.weights) folders.push_back(*plan.weights);
  for (const fs::path& folder : folders) {
    try {
      return ModelWeights(folder).special_tokens();
    } catch (const Error&) {
      continue;  // told of when it is loaded
    }
  }
  return {};
}

JobConfig adopt_saved(JobConfig job) {
  if (!job.parallelism.logical_shards.is_auto()) return job;
  const auto manifest = first_readable(plan_resume(job, RunDirectory(job.run.dir, job.run.name)));
  if (!manifest || manifest->step == 0) return job;
  const auto shards = manifest->trainer.find("logical_shards");
  if (shards != manifest->trainer.end() && shards->is_number_integer())
    job.parallelism.logical_shards = shards->get<int64_t>();
  return job;
}

std::optional<ResumePoint> load_newest(const ResumePlan& plan, const JobConfig& job, const SavedState& state,
                                       const Communicator& world,
                                       const std::function<void(const std::string& what)>& damaged) {
  std::string first_problem;
  for (const fs::path& folder : plan.checkpoints) {
    ResumePoint point;
    const Attempt attempt = load_everywhere(folder, job, state, world, point);
    if (attempt.error.empty()) return point;
    if (attempt.of_job) throw Error(ErrorCode::config, "resume", attempt.error);
    if (world.rank() == 0) damaged(folder.filename().string() + ": " + attempt.error);
    if (first_problem.empty()) first_problem = attempt.error;
  }
  if (first_problem.empty()) return std::nullopt;
  throw Error(ErrorCode::bad_data, "resume", "no checkpoint is intact; the newest: " + first_problem,
              "restore one from a copy, or start anew under another run.name");
}

int set_newer_aside(const CheckpointRoot& root, int64_t step) {
  int count = 0;
  for (const auto& [newer, folder] : root.list()) {
    if (newer <= step) continue;
    const fs::path aside = root.abandoned(newer);
    posix_file_system().remove(aside);
    posix_file_system().rename(folder, aside);
    ++count;
  }
  if (count > 0) posix_file_system().sync_directory(root.path());
  return count;
}

}  // namespace trident
