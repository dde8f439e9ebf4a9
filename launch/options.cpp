#include "launch/options.h"

#include <map>
#include <string>
#include <vector>

namespace trident {

void add_dtype(CLI::App& verb, const std::string& name, DType& dtype, const std::vector<DType>& allowed,
               const std::string& help) {
  std::map<std::string, DType> names;
  for (const DType each : allowed) names.emplace(to_string(each), each);
  verb.add_option_function<std::string>(
          name, [&dtype, names](const std::string& given) { dtype = names.at(given); }, help)
      ->check(CLI::IsMember(names))
      ->type_name("DTYPE");
}

void add_precision(CLI::App& verb, DType& precision) {
  add_dtype(verb, "--precision", precision, {DType::fp64, DType::fp32, DType::bf16},
            "What to compute in; fp32 unless given");
}

void add_threads(CLI::App& verb, int& threads) {
  verb.add_option("--threads", threads, "Compute threads; 0: one per processor")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

}  // namespace trident
