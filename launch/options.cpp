#include "launch/options.h"

#include <map>
#include <string>

namespace trident {

void add_precision(CLI::App& verb, DType& precision) {
  const std::map<std::string, DType> names = {{"fp64", DType::fp64}, {"fp32", DType::fp32}, {"bf16", DType::bf16}};
  verb.add_option("--precision", precision, "What to compute in: fp64, fp32 (default) or bf16")
      ->transform(CLI::CheckedTransformer(names).description(""))
      ->type_name("DTYPE");
}

void add_threads(CLI::App& verb, int& threads) {
  verb.add_option("--threads", threads, "Compute threads; 0: one per processor")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

}  // namespace trident
