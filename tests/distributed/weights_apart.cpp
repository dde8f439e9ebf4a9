// How far the weights of two files are apart: the largest ‖a − b‖ / ‖a‖ of their tensors. Fails where the tensors are
// not the same by name and shape.
//   weights_apart A.safetensors B.safetensors
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <vector>

#include "checkpoint/safetensors_reader.h"
#include "core/error.h"

namespace trident {
namespace {

std::vector<double> values_of(const SafetensorsFile& file, const TensorInfo& tensor) {
  std::vector<double> values(static_cast<size_t>(tensor.rows() * tensor.row_size()));
  file.read_rows(tensor, 0, tensor.rows(), std::span<double>(values));
  return values;
}

double apart(const SafetensorsFile& a, const SafetensorsFile& b) {
  TRIDENT_CHECK(a.tensors().size() == b.tensors().size());
  double largest = 0;
  for (const TensorInfo& tensor : a.tensors()) {
    TRIDENT_CHECK(b.at(tensor.name).shape == tensor.shape, tensor.name);
    const std::vector<double> x = values_of(a, tensor), y = values_of(b, b.at(tensor.name));
    double difference = 0, length = 0;
    for (size_t i = 0; i < x.size(); ++i) difference += (x[i] - y[i]) * (x[i] - y[i]), length += x[i] * x[i];
    TRIDENT_CHECK(std::isfinite(difference) && length > 0, tensor.name);
    largest = std::max(largest, std::sqrt(difference / length));
  }
  return largest;
}

}  // namespace
}  // namespace trident

int main(int argc, char** argv) {
  try {
    TRIDENT_CHECK(argc == 3, "two files are needed");
    std::printf("%.3g\n", trident::apart(trident::SafetensorsFile(argv[1]), trident::SafetensorsFile(argv[2])));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
