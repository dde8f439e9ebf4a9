#include "parallel/comm/exchange_text.h"

#include <algorithm>
#include <cstring>

namespace trident {
namespace {

std::vector<int64_t> words_of(const std::string& text, int64_t bytes) {
  std::vector<int64_t> words(static_cast<size_t>((bytes + 7) / 8));
  if (!text.empty()) std::memcpy(words.data(), text.data(), text.size());
  return words;
}

}  // namespace

std::vector<std::string> all_gather_text(const Communicator& comm, const std::string& text) {
  const int64_t mine[] = {std::ssize(text)};
  std::vector<int64_t> sizes(static_cast<size_t>(comm.size()));
  comm.all_gather(std::span<const int64_t>(mine), std::span<int64_t>(sizes));
  const std::vector<int64_t> words = words_of(text, *std::max_element(sizes.begin(), sizes.end()));
  std::vector<int64_t> all(words.size() * sizes.size());
  comm.all_gather(std::span<const int64_t>(words), std::span<int64_t>(all));
  std::vector<std::string> texts;
  for (size_t rank = 0; rank < sizes.size(); ++rank) {
    texts.emplace_back(reinterpret_cast<const char*>(all.data() + rank * words.size()),
                       static_cast<size_t>(sizes[rank]));
  }
  return texts;
}

std::vector<std::string> gather_text(const Communicator& comm, const std::string& text, int root) {
  const int64_t mine[] = {std::ssize(text)};
  std::vector<int64_t> sizes(static_cast<size_t>(comm.size()));
  comm.all_gather(std::span<const int64_t>(mine), std::span<int64_t>(sizes));
  std::vector<int64_t> words = words_of(text, mine[0]);
  if (comm.rank() != root) {
    comm.send(std::span<const int64_t>(words), root);
    return {};
  }
  std::vector<std::string> texts;
  for (int rank = 0; rank < comm.size(); ++rank) {
    const int64_t size = sizes[static_cast<size_t>(rank)];
    if (rank != root) {
      words.resize(static_cast<size_t>((size + 7) / 8));
      comm.recv(std::span<int64_t>(words), rank);
      texts.emplace_back(reinterpret_cast<const char*>(words.data()), static_cast<size_t>(size));
    } else {
      texts.push_back(text);
    }
  }
  return texts;
}

std::string broadcast_text(const Communicator& comm, const std::string& text, int root) {
  int64_t size[] = {comm.rank() == root ? std::ssize(text) : 0};
  comm.broadcast(std::span<int64_t>(size), root);
  std::vector<int64_t> words = words_of(comm.rank() == root ? text : "", size[0]);
  comm.broadcast(std::span<int64_t>(words), root);
  return {reinterpret_cast<const char*>(words.data()), static_cast<size_t>(size[0])};
}

}  // namespace trident
