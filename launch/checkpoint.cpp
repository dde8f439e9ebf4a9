#include <fmt/format.h>

#include "core/error.h"
#include "launch/checkpoint_verbs.h"
#include "train/model_weights.h"

namespace trident {

namespace fs = std::filesystem;

void add_checkpoint_place(Verb& verb, std::string& place) {
  verb.add_option("checkpoint", place, "A checkpoint, or a run: its newest").required().type_name("CKPT");
}

fs::path checkpoint_at(const fs::path& path) {
  if (const auto checkpoint = checkpoint_in(path)) return *checkpoint;
  const fs::path whole = path.lexically_normal();
  const fs::path name = whole.has_filename() ? whole.filename() : whole.parent_path().filename();
  if (fs::is_directory(path) && name.string().starts_with("step_")) return path;
  throw Error(ErrorCode::input_missing, "checkpoint", path.string() + " is neither a checkpoint nor a run that has one",
              "name a folder such as runs/kjv/checkpoints/step_00000100, or the run: runs/kjv");
}

std::string to_string(const SavedLayout& layout) {
  return fmt::format("dp={} tp={} pp={}", layout.dp, layout.tp, layout.pp);
}

nlohmann::ordered_json to_json(const SavedLayout& layout) {
  return {{"dp", layout.dp},
          {"tp", layout.tp},
          {"pp", layout.pp},
          {"virtual_stages", layout.virtual_stages},
          {"zero_stage", layout.zero_stage}};
}

void add_checkpoint(Verb& program, Action& action) {
  Verb verb = program.add_verb("checkpoint", "Look at, prove, compare and convert checkpoints");
  verb.require_verb();
  add_checkpoint_list(verb, action);
  add_checkpoint_show(verb, action);
  add_checkpoint_verify(verb, action);
  add_checkpoint_diff(verb, action);
  add_checkpoint_export(verb, action);
  add_checkpoint_import(verb, action);
  verb.footer(
      "CKPT is a checkpoint's folder, or a run, which stands for its newest checkpoint.\n"
      "Examples:\n  trident checkpoint list runs/kjv\n"
      "  trident checkpoint verify runs/kjv/checkpoints/step_00000100\n"
      "  trident checkpoint export runs/kjv --out kjv-hf");
}

}  // namespace trident
