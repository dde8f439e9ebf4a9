#pragma once

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

/// Reports what is wrong between keys that are each right.
void check(const JobConfig& job, Reading& reading);

}  // namespace trident::config
