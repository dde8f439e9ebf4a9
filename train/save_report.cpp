#include "train/save_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <map>
#include <utility>

namespace trident {
namespace {

using nlohmann::json;

LogicalBlock block_of_numbers(const json& numbers) {
  return {numbers.at(1), numbers.at(2), numbers.at(3), numbers.at(4)};
}

struct CopySum {
  TensorDigest digest{};
  std::vector<int> ranks;
};

}  // namespace

std::string encode(const SaveReport& report) {
  json digests = json::array();
  for (const PartialDigest& part : report.digests)
    digests.push_back({part.tensor, part.copy, part.digest[0], part.digest[1], part.digest[2]});
  const RankFile& file = report.file;
  return json{{"error", report.error},        {"name", file.name},         {"bytes", file.bytes},
              {"hash", to_hex(file.hash)},    {"elements", file.elements}, {"payload", file.payload},
              {"digests", std::move(digests)}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

SaveReport decode_save_report(const std::string& text) {
  const json words = json::parse(text);
  SaveReport report;
  report.error = words.at("error");
  RankFile& file = report.file;
  file.name = words.at("name");
  file.bytes = words.at("bytes");
  file.hash = hash128_from_hex(words.at("hash").get<std::string>());
  file.elements = words.at("elements");
  file.payload = words.at("payload");
  for (const json& part : words.at("digests"))
    report.digests.push_back({part.at(0), part.at(1), {part.at(2), part.at(3), part.at(4)}});
  return report;
}

std::string encode(const std::vector<Segment>& segments) {
  json list = json::array();
  for (const auto& [tensor, block, offset] : segments)
    list.push_back({tensor, block.row0, block.rows, block.column0, block.columns, offset});
  return list.dump();
}

std::vector<Segment> decode_segments(const std::string& text) {
  std::vector<Segment> segments;
  for (const json& numbers : json::parse(text))
    segments.push_back({numbers.at(0), block_of_numbers(numbers), numbers.at(5)});
  return segments;
}

std::string encode(const CommitResult& result) {
  return json{{"error", result.error}, {"copies_differ", result.copies_differ}, {"rank", result.rank}}.dump(
      -1, ' ', false, json::error_handler_t::replace);
}

CommitResult decode_commit_result(const std::string& text) {
  const json words = json::parse(text);
  return {words.at("error"), words.at("copies_differ"), words.at("rank")};
}

SummedDigests sum_digests(const std::vector<LogicalTensor>& tensors,
                          const std::vector<std::vector<PartialDigest>>& by_rank) {
  std::map<std::pair<int32_t, int>, CopySum> sums;
  for (size_t rank = 0; rank < by_rank.size(); ++rank) {
    for (const PartialDigest& part : by_rank[rank]) {
      CopySum& sum = sums[{part.tensor, part.copy}];
      for (size_t i = 0; i < sum.digest.size(); ++i) sum.digest[i] += part.digest[i];
      sum.ranks.push_back(static_cast<int>(rank));
    }
  }
  SummedDigests result;
  for (size_t i = 0; i < tensors.size(); ++i) result.digests.push_back(sums[{static_cast<int32_t>(i), 0}].digest);
  for (const auto& [key, sum] : sums) {
    const auto tensor = static_cast<size_t>(key.first);
    if (sum.digest == result.digests[tensor] || !result.difference.empty()) continue;
    result.difference =
        fmt::format("{}: what rank{} {} hold{} differs from what rank{} {} hold{}", tensors[tensor].name,
                    sum.ranks.size() > 1 ? "s" : "", fmt::join(sum.ranks, ", "), sum.ranks.size() > 1 ? "" : "s",
                    sums[{key.first, 0}].ranks.size() > 1 ? "s" : "", fmt::join(sums[{key.first, 0}].ranks, ", "),
                    sums[{key.first, 0}].ranks.size() > 1 ? "" : "s");
  }
  return result;
}

}  // namespace trident
