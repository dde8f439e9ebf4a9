// Gives tests/interop/megatron_idx.py a hand on the data room's reader and writer.
//   dataset_tool write PREFIX VOCAB_SIZE   documents on stdin, one per line as ids separated by spaces
//   dataset_tool read PATH VOCAB_SIZE      prints the same; non-empty documents only, as a stream has no empty ones
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/indexed_dataset.h"
#include "data/indexed_dataset_writer.h"

namespace {

void write(const std::string& prefix, int64_t vocab_size) {
  trident::IndexedDatasetWriter writer(prefix, trident::optimal_token_dtype(vocab_size));
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::vector<int32_t> ids;
    for (int32_t id = 0; words >> id;) ids.push_back(id);
    writer.append(ids);
    writer.end_document();
  }
  writer.finish();
}

void read(const std::string& path, int64_t vocab_size) {
  const trident::IndexedDataset data(path, vocab_size);
  std::vector<int64_t> ends;
  data.document_ends(0, data.tokens(), ends);
  int64_t begin = 0;
  for (const int64_t end : ends) {
    std::vector<int32_t> ids(static_cast<size_t>(end - begin));
    data.read(begin, ids);
    fmt::print("{}\n", fmt::join(ids, " "));
    begin = end;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  if (arguments.size() != 4 || (arguments[1] != "write" && arguments[1] != "read")) {
    fmt::print(stderr, "usage: dataset_tool write|read PATH VOCAB_SIZE\n");
    return 64;
  }
  try {
    const int64_t vocab_size = std::stoll(arguments[3]);
    if (arguments[1] == "write") {
      write(arguments[2], vocab_size);
    } else {
      read(arguments[2], vocab_size);
    }
    return 0;
  } catch (const trident::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 70;
  }
}
