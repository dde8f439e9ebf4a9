#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/huggingface_config.h"
#include "train/checkpointer.h"
#include "train/config/job_config.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// Where a job's state could come from.
struct ResumePlan {
  std::vector<std::filesystem::path> checkpoints;  ///< best first; empty: the job starts at step 0
  std::optional<std::filesystem::path> weights;    ///< of a model to start from, where there is no checkpoint
};

/// By checkpoint.resume: `auto` takes the run's own checkpoints; a step that one; a path another run's, a checkpoint's,
/// or the weights of a Hugging Face directory, unless this run already has checkpoints of its own. Where there are
/// none, checkpoint.weights is what to start from. Looks at names only. Throws Error where what is asked for is not
/// there, and for `never` where the run has checkpoints.
[[nodiscard]] ResumePlan plan_resume(const JobConfig& job, const RunDirectory& run);

/// Rank 0's plan on every rank: they may see a shared folder at different moments. Collective.
[[nodiscard]] ResumePlan agree_on_plan(const ResumePlan& plan, const Communicator& world);

/// Of the plan's first checkpoint that says it, -1 where none does.
[[nodiscard]] int64_t newest_step(const ResumePlan& plan);

/// Those that the plan's model declares; none where nothing is to be read.
[[nodiscard]] SpecialTokens special_tokens_of(const ResumePlan& plan);

/// The job, with what it leaves to `auto` but its run decided before: the number of logical shards.
[[nodiscard]] JobConfig adopt_saved(JobConfig job);

struct ResumePoint {
  int64_t step = 0;
  int64_t samples = 0;           ///< consumed
  std::filesystem::path folder;  ///< of the checkpoint, or which memory
};

/// Makes the newest checkpoint of the plan that proves intact the state of all ranks; nothing where the plan has none.
/// Damaged ones are told to `damaged` on rank 0. Collective. Throws Error on every rank where none is intact, where one
/// is of another model or precision, or where only a newer program can read it.
[[nodiscard]] std::optional<ResumePoint> load_newest(const ResumePlan& plan, const JobConfig& job,
                                                     const SavedState& state, const Communicator& world,
                                                     const std::function<void(const std::string& what)>& damaged);

/// Takes checkpoints newer than `step` out of the way, for a run that goes on from there: step_00000200 becomes
/// step_00000200.abandoned. By rank 0, before it saves. Returns their number.
int set_newer_aside(const CheckpointRoot& root, int64_t step);

}  // namespace trident
