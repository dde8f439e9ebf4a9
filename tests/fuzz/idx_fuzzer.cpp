// Any bytes as .idx, and in front of them, a length byte and that many bytes as .bin: reading refuses or succeeds.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/indexed_dataset.h"

namespace {

class Folder {
 public:
  Folder() {
    // Memory where the machine has it: the fuzzer writes thousands of files a second.
    const char* parent = std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp";
    path_ = std::string(parent) + "/idx_fuzzer." + std::to_string(::getpid());
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string write(const char* name, std::span<const uint8_t> bytes) const {
    std::string file = path_ + "/" + name;
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return file;
  }

 private:
  std::string path_;
};

void read_everything(const trident::IndexedDataset& data) {
  std::vector<int64_t> ends;
  data.document_ends(0, data.tokens(), ends);
  int64_t previous = 0;
  for (const int64_t end : ends) {
    if (end <= previous || end > data.tokens()) std::abort();
    previous = end;
  }
  std::vector<int32_t> tokens(static_cast<size_t>(data.tokens()));
  data.read(0, tokens);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  const std::span<const uint8_t> input(data, size);
  if (input.empty() || input.size() < size_t{input[0]} + 1) return 0;
  const auto bin = folder.write("a.bin", input.subspan(1, input[0]));
  folder.write("a.idx", input.subspan(size_t{input[0]} + 1));
  try {
    read_everything(trident::IndexedDataset(bin, 60000));
  } catch (const trident::Error& error) {
    if (error.code() == trident::ErrorCode::internal) std::abort();
  }
  return 0;
}
