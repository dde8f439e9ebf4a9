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

void add_threads(Verb& verb, int& threads) {
  verb.add_option("--threads", threads, "Compute threads; 0: one per processor").range(0, 1024).show_default();
}

}  // namespace trident
