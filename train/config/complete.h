#pragma once

#include <cstdint>

#include "train/config/reading.h"
#include "train/config/yaml_document.h"

namespace trident {
struct JobConfig;
}

namespace trident::config {

/// Starts `job.model` from the preset that the tree names, if it names one.
void apply_preset(const YamlNode& root, JobConfig& job, Reading& reading);

/// Gives the keys that follow from others their values, with the reason as origin.
void complete(JobConfig& job, Reading& reading, const std::string& file_name);

/// training.micro_batch_size of a job that leaves it out: a replica's share, or less where logical shards or the
/// schedule need more microbatches, at most 8.
[[nodiscard]] int64_t default_micro_batch_size(const JobConfig& job);

/// Reports what is wrong between keys that are each right. Keys that are still `auto` are not checked.
void check(const JobConfig& job, Reading& reading);

/// The part of check() that says whether model and batch can be cut as `parallelism` asks: again once a key that was
/// `auto` is decided.
void check_layout(const JobConfig& job, Reading& reading);

}  // namespace trident::config
