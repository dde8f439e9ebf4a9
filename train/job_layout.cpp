#include "train/job_layout.h"

#include "parallel/pipeline/lower.h"
#include "parallel/pipeline/schedules.h"
#include "parallel/pipeline/stage_cut.h"
#include "parallel/pipeline/validate.h"
#include "train/config/microbatch_split.h"

namespace trident {

BatchShare JobLayout::share(int dp_rank) const {
  const MicrobatchSplit split{microbatches, logical_shards, mesh.dp};
  const ShardRange own = split.of_rank(dp_rank);
  const ShardRun shards = shards_of(dp_rank, mesh.dp, logical_shards);
  BatchShare share{own.begin, own.count, {}};
  for (int shard = shards.begin; shard < shards.end; ++shard) {
    const ShardRange part = split.of_shard(shard);
    share.shard_ends.push_back(static_cast<int32_t>(part.begin + part.count - own.begin) - 1);
  }
  return share;
}

pipeline::Schedule JobLayout::training_schedule(int dp_rank, bool tied_embedding) const {
  pipeline::ScheduleRequest request = schedule;
  request.ranks = mesh.pp;
  request.microbatches = share(dp_rank).microbatches;
  pipeline::Schedule lowered = lower(make_schedule(request), {.tied_embedding = tied_embedding});
  require_valid(lowered);
  return lowered;
}

pipeline::Schedule JobLayout::evaluation_schedule(int32_t count) const {
  pipeline::ScheduleRequest request = schedule;
  request.ranks = mesh.pp;
  request.microbatches = share(0).microbatches;
  return lower(forwards(make_schedule(request), count));
}

LayerRange JobLayout::layers_of(const ModelConfig& model, int32_t stage) const {
  if (layers_per_stage.empty()) return {0, model.num_hidden_layers + 2};
  LayerRange range{0, 1};  // the embedding
  for (int32_t i = 0; i <= stage; ++i) {
    if (i > 0) range.begin = range.end;
    range.end += layers_per_stage.at(static_cast<size_t>(i));
  }
  if (stage + 1 == std::ssize(layers_per_stage)) ++range.end;  // the head
  return range;
}

std::vector<int32_t> cut_by_cost(const ModelConfig& model, int64_t sequence_length, int32_t stages) {
  ModelConfig one_layer = model;
  const double all = flops_per_token(model, sequence_length);
  one_layer.num_hidden_layers = model.num_hidden_layers + 1;
  const double layer = flops_per_token(one_layer, sequence_length) - all;
  const auto layers = static_cast<size_t>(model.num_hidden_layers);
  return pipeline::cut_stages({0.0, std::vector<double>(layers, layer), all - layer * static_cast<double>(layers)},
                              stages);
}

}  // namespace trident
