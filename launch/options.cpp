#include "launch/options.h"

#include <algorithm>
#include <string>
#include <vector>

namespace trident {

void add_dtype(Verb& verb, const std::string& name, DType& dtype, const std::vector<DType>& allowed,
               const std::string& help) {
  std::vector<std::string> names;
  names.reserve(allowed.size());
  for (const DType each : allowed) names.emplace_back(to_string(each));
  const auto take = [&dtype, allowed, names](const std::string& given) {
    dtype = allowed[static_cast<size_t>(std::find(names.begin(), names.end(), given) - names.begin())];
  };
  verb.add_option_function(name, take, help).one_of(names).type_name("DTYPE");
}

void add_precision(Verb& verb, DType& precision) {
  add_dtype(verb, "--precision", precision, {DType::fp64, DType::fp32, DType::bf16},
            "What to compute in; fp32 unless given");
}

void add_job(Verb& verb, std::string& file, std::vector<std::string>& overrides) {
  verb.add_option("job", file, "The job file (YAML)").required().type_name("JOB.yaml");
  verb.add_option("overrides", overrides, "Values that replace the file's").type_name("key=value");
}

void add_model(Verb& verb, std::string& model) {
  verb.add_option("model", model, "A run, a checkpoint or a Hugging Face directory")
      .required()
      .type_name("RUN_OR_HF_DIR");
}

void add_json(Verb& verb, bool& json) { verb.add_flag("--json", json, "Report as JSON"); }

void add_threads(Verb& verb, int& threads) {
  verb.add_option("--threads", threads, "Compute threads; 0: one per processor").range(0, 1024).show_default();
}

}  // namespace trident
