#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "train/config/diagnostics.h"
#include "train/config/job_config.h"

// The strict job file: text in, a validated JobConfig out, and back.

namespace trident {

/// Where the values of a job come from, and what is odd about it without being wrong.
struct ResolvedOrigins {
  /// By dotted path: "job.yaml:12", "command line argument 2", "preset llama-tiny", "default" or "auto (reason)".
  std::map<std::string, std::string, std::less<>> origins;
  std::vector<std::string> warnings;  ///< one line each, for the log
  /// Where the keys and sections stand that file or command line give, and the texts that those places point into:
  /// what a later check needs to point at a key.
  std::map<std::string, config::Place, std::less<>> places;
  std::vector<config::Source> sources;
};

/// Reads a job file and then `overrides`, each `dotted.key=value`; precedence is command line > file > preset >
/// default. Throws ConfigErrors with every problem at once, or Error(input_missing) where there is no such file.
[[nodiscard]] JobConfig load_job(const std::string& path, std::span<const std::string> overrides = {},
                                 ResolvedOrigins* origins = nullptr);

/// The same for a text; `file_name` stands in messages and gives run.name its default.
[[nodiscard]] JobConfig parse_job(const std::string& text, const std::string& file_name,
                                  std::span<const std::string> overrides = {}, ResolvedOrigins* origins = nullptr);

/// The complete job file of a resolved job; parse_job of it gives an equal JobConfig.
[[nodiscard]] std::string to_yaml(const JobConfig& job);

/// to_yaml with each value's origin as a comment.
[[nodiscard]] std::string to_yaml_with_origins(const JobConfig& job, const ResolvedOrigins& origins);

/// JSON Schema (draft 2020-12) of the job file, for editors.
[[nodiscard]] std::string json_schema();

/// Every key with its default, its values and its meaning, as Markdown tables; part of docs/job-file.md.
[[nodiscard]] std::string key_table();

}  // namespace trident
