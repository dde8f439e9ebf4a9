#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>

#include "checkpoint/manifest.h"
#include "launch/verbs.h"

namespace trident {

// Each adds one verb below `checkpoint`.
void add_checkpoint_list(Verb& verb, Action& action);
void add_checkpoint_show(Verb& verb, Action& action);
void add_checkpoint_verify(Verb& verb, Action& action);
void add_checkpoint_diff(Verb& verb, Action& action);
void add_checkpoint_export(Verb& verb, Action& action);
void add_checkpoint_import(Verb& verb, Action& action);

/// Adds the word that checkpoint_at() takes.
void add_checkpoint_place(Verb& verb, std::string& place);

/// The checkpoint that the command line names: its folder, or a run, which stands for its newest. A folder that only
/// looks like a checkpoint is returned as it is. Throws Error(input_missing) for anything else.
[[nodiscard]] std::filesystem::path checkpoint_at(const std::filesystem::path& path);

/// "dp=2 tp=1 pp=2"
[[nodiscard]] std::string to_string(const SavedLayout& layout);
[[nodiscard]] nlohmann::ordered_json to_json(const SavedLayout& layout);

}  // namespace trident
