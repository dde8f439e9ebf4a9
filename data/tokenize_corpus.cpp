#include "data/tokenize_corpus.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <span>
#include <thread>
#include <utility>

#include "core/error.h"
#include "data/byte_progress.h"
#include "data/corpus_reader.h"
#include "data/indexed_dataset_writer.h"
#include "data/json_lines.h"
#include "data/ordered_workers.h"
#include "data/tokenizer.h"

namespace trident {
namespace {

struct EncodedChunk {
  std::vector<int32_t> ids{};
  std::vector<size_t> document_ends{};  // in ids
  int64_t bytes = 0;
  bool validation = false;
};

/// Compares the ids around a cut with those of the uncut text. Patterns look a few characters ahead and back, so that
/// some hundred bytes on both sides tell what the whole would.
bool cut_keeps_ids(const CorpusEncoder& encoder, std::string_view text, size_t position) {
  constexpr size_t context = 512;
  size_t begin = position > context ? position - context : 0;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0U) == 0x80) --begin;
  const std::string_view before = text.substr(begin, position - begin);
  const std::string_view after = text.substr(position, context);
  std::vector<int32_t> whole;
  std::vector<int32_t> parts;
  encoder.encode_append(text.substr(begin, before.size() + after.size()), whole);
  encoder.encode_append(before, parts);
  encoder.encode_append(after, parts);
  return whole == parts;
}

class ChunkEncoder {
 public:
  ChunkEncoder(const TokenizeCorpusOptions& options, const CorpusEncoder& encoder)
      : encoder_(encoder), json_key_(options.json_key) {
    if (options.append_end_of_document) end_of_document_ = encoder.end_of_document;
  }

  EncodedChunk operator()(CorpusChunk chunk) const {
    EncodedChunk out{.bytes = static_cast<int64_t>(chunk.bytes.size()), .validation = chunk.validation};
    if (chunk.kind == CorpusChunk::Kind::json_lines) {
      encode_lines(chunk, out);
    } else {
      encoder_.encode_append(chunk.bytes, out.ids);
      if (chunk.ends_document) end_document(out, chunk.empty_document);
    }
    return out;
  }

 private:
  void encode_lines(CorpusChunk& chunk, EncodedChunk& out) const {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (chunk.begins_file && chunk.bytes.starts_with(byte_order_mark)) chunk.bytes.erase(0, byte_order_mark.size());
    for_each_json_line(chunk.bytes, {chunk.file, chunk.first_line, json_key_}, [&](std::string_view text) {
      const size_t before = out.ids.size();
      encoder_.encode_append(text, out.ids);
      end_document(out, out.ids.size() == before);
    });
  }

  void end_document(EncodedChunk& out, bool empty) const {
    if (end_of_document_ && !empty) out.ids.push_back(*end_of_document_);
    out.document_ends.push_back(out.ids.size());
  }

  const CorpusEncoder& encoder_;
  std::string json_key_;
  std::optional<int32_t> end_of_document_;
};

void write_chunk(const EncodedChunk& chunk, IndexedDatasetWriter& writer) {
  const std::span<const int32_t> ids(chunk.ids);
  size_t begin = 0;
  for (const size_t end : chunk.document_ends) {
    writer.append(ids.subspan(begin, end - begin));
    writer.end_document();
    begin = end;
  }
  if (begin < ids.size()) writer.append(ids.subspan(begin));
}

int thread_count(int asked) {
  if (asked > 0) return asked;
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

CorpusReader::CutTest cut_test(const CorpusEncoder& encoder) {
  if (encoder.cut_anywhere) return nullptr;
  return [&encoder](std::string_view text, size_t position) { return cut_keeps_ids(encoder, text, position); };
}

}  // namespace

CorpusEncoder corpus_encoder(const Tokenizer& tokenizer) {
  CorpusEncoder encoder;
  encoder.encode_append = [&tokenizer](std::string_view text, std::vector<int32_t>& ids) {
    tokenizer.encode_append(text, ids);
  };
  encoder.vocab_size = tokenizer.vocab_size();
  encoder.end_of_document = tokenizer.end_of_document();
  encoder.cut_anywhere = tokenizer.kind() == "byte";
  return encoder;
}

TokenizeCorpusResult tokenize_corpus(const TokenizeCorpusOptions& options, const CorpusEncoder& encoder) {
  if (options.inputs.empty()) {
    throw Error(ErrorCode::usage, "data/tokenize_corpus", "no input files", "name text or .jsonl files");
  }
  CorpusReader reader({options.inputs, options.chunk_bytes, options.validation_fraction}, cut_test(encoder));
  const TokenDType dtype = optimal_token_dtype(encoder.vocab_size);
  IndexedDatasetWriter train(options.out_prefix, dtype);
  std::unique_ptr<IndexedDatasetWriter> validation;
  if (options.validation_fraction > 0) {
    validation = std::make_unique<IndexedDatasetWriter>(options.out_prefix + "-val", dtype);
  }

  std::optional<ByteProgress> shown;
  if (options.progress) shown.emplace(reader.total_bytes());
  const auto start = std::chrono::steady_clock::now();
  TokenizeCorpusResult result;
  const auto write = [&](const EncodedChunk& chunk) {
    write_chunk(chunk, chunk.validation ? *validation : train);
    result.bytes += chunk.bytes;
    if (shown) shown->advance(chunk.bytes);
  };

  const ChunkEncoder encode(options, encoder);
  const int threads = thread_count(options.threads);
  OrderedWorkers<EncodedChunk> workers(threads);
  while (auto chunk = reader.next()) {
    if (workers.pending() >= 4 * static_cast<size_t>(threads)) write(workers.take());
    workers.give([&encode, chunk = std::move(*chunk)]() mutable { return encode(std::move(chunk)); });
  }
  while (workers.pending() > 0) write(workers.take());

  train.finish();
  if (validation) {
    validation->finish();
    result.validation_documents = validation->documents();
    result.validation_tokens = validation->tokens();
  }
  result.documents = train.documents() + result.validation_documents;
  result.tokens = train.tokens() + result.validation_tokens;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace trident
