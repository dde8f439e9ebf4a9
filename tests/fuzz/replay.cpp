// Runs a fuzz target without libFuzzer: every file of a folder of seeds, then simple mutations of them for a while.
// A short, repeatable form of tests/fuzz.sh that any compiler builds. Usage: NAME SEED_FOLDER SECONDS
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

std::vector<Bytes> read_seeds(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  if (std::filesystem::is_directory(folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> seeds{{}};
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return seeds;
}

/// Flips, overwrites, erases, repeats or cuts a few places of `bytes`.
void mutate(Bytes& bytes, std::mt19937_64& random) {
  static constexpr uint8_t kEdges[] = {0x00, 0x01, 0x7f, 0x80, 0xff, '"', '\\', '{', '[', '-', '\n', ' '};
  for (uint64_t left = 1 + random() % 4; left > 0; --left) {
    if (bytes.empty()) bytes.push_back(static_cast<uint8_t>(random()));
    const auto at = static_cast<std::ptrdiff_t>(random() % bytes.size());
    const auto length = static_cast<std::ptrdiff_t>(random() % 16);
    const auto end = std::min(bytes.end(), bytes.begin() + at + length);
    switch (random() % 6) {
      case 0: bytes[at] ^= static_cast<uint8_t>(1U << (random() % 8)); break;
      case 1: bytes[at] = kEdges[random() % std::size(kEdges)]; break;
      case 2: bytes.erase(bytes.begin() + at, end); break;
      case 3: bytes.insert(bytes.begin() + at, kEdges[random() % std::size(kEdges)]); break;
      case 4: {
        const Bytes piece(bytes.begin() + at, end);
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(random() % bytes.size()), piece.begin(), piece.end());
        break;
      }
      default: bytes.resize(static_cast<size_t>(at)); break;
    }
  }
}

/// Where a target crashes, the input that did it lies here.
void keep(const Bytes& bytes, const std::string& path) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s SEED_FOLDER SECONDS\n", argv[0]);
    return 64;
  }
  const std::vector<Bytes> seeds = read_seeds(argv[1]);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(std::atof(argv[2]));
  const std::string last = std::string(argv[0]) + ".last_input";
  std::mt19937_64 random(1);
  size_t runs = 0;
  for (; runs < seeds.size() || std::chrono::steady_clock::now() < end; ++runs) {
    Bytes bytes = seeds[runs % seeds.size()];
    if (runs >= seeds.size()) mutate(bytes, random);
    keep(bytes, last);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%zu inputs from %zu seeds\n", runs, seeds.size());
  return 0;
}
