#include "train/weight_gatherer.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/memory.h"
#include "train/word_stream.h"

namespace trident {
namespace {

// Kinds of request that are no piece's number.
constexpr int64_t kDone = -1;
constexpr int64_t kFailed = -2;  // error code, words of text that follow
constexpr int64_t kTable = -3;   // send what you hold

constexpr int kRequestTag = 0;
constexpr int kAnswerTag = 1;

/// Puts a fragment's elements where they belong among rows of `columns` elements that start with row `row0`.
template <class From, class To>
void place(const Fragment& fragment, const From* from, int64_t row0, int64_t columns, std::span<To> out) {
  const LogicalBlock& part = fragment.part;
  for (int64_t done = 0; done < fragment.count;) {
    const int64_t element = fragment.begin + done;
    const int64_t row = element / part.columns, column = element % part.columns;
    const bool whole_rows = part.columns == columns;
    const int64_t size = whole_rows ? fragment.count : std::min(fragment.count - done, part.columns - column);
    const int64_t to = (part.row0 + row - row0) * columns + part.column0 + column;
    std::transform(from + done, from + done + size, out.begin() + to,
                   [](From value) { return static_cast<To>(value); });
    done += size;
  }
}

}  // namespace

WeightGatherer::WeightGatherer(Communicator world, Stream stream, std::vector<OwnedPiece> pieces)
    : world_(std::move(world)), stream_(std::move(stream)), pieces_(std::move(pieces)) {
  run([this] { exchange_table(); });
}

void WeightGatherer::exchange_table() {
  for (const HeldRun& run : held_runs()) table_.add(0, run);
  for (int rank = 1; rank < world_.size(); ++rank) {
    for (const HeldRun& run : ask_for_table(rank)) table_.add(rank, run);
  }
  table_.check_complete();
}

std::vector<HeldRun> WeightGatherer::held_runs() const {
  std::vector<HeldRun> runs;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const OwnedPiece& piece = pieces_[i];
    const Parameter& parameter = *piece.parameter;
    if (parameter.tied_copy) continue;
    runs.push_back({parameter.name, whole_block(parameter.global_shape), block_of(parameter), piece.master.dtype(),
                    static_cast<int64_t>(i), piece.begin, piece.count});
  }
  return runs;
}

void WeightGatherer::run(const std::function<void()>& work) {
  if (world_.rank() != 0) return serve();
  try {
    work_on_rank_0(work);
  } catch (const Error& error) {
    tell_failure(error);
    throw;
  } catch (const std::exception& error) {
    tell_failure(Error(ErrorCode::internal, "weights", error.what()));
    throw;
  }
  tell_all({kDone, 0, 0});
}

void WeightGatherer::work_on_rank_0(const std::function<void()>& work) {
  TRIDENT_CHECK(!working_, "run() inside run()");
  working_ = true;
  try {
    work();
  } catch (...) {
    working_ = false;
    throw;
  }
  working_ = false;
}

void WeightGatherer::tell(int rank, const Request& request) {
  world_.send(std::span<const int64_t>(request), rank, kRequestTag);
}

void WeightGatherer::tell_all(const Request& request) {
  for (int rank = 1; rank < world_.size(); ++rank) tell(rank, request);
}

// Where the ranks can no longer talk, each learns that by itself.
void WeightGatherer::tell_failure(const Error& error) {
  if (talking_) return;
  WordWriter text;
  for (const std::string* part : {&error.component(), &error.problem(), &error.remedy()}) text.put(*part);
  tell_all({kFailed, error.exit_code(), std::ssize(text.words())});
  for (int rank = 1; rank < world_.size(); ++rank)
    world_.send(std::span<const int64_t>(text.words()), rank, kAnswerTag);
}

std::vector<HeldRun> WeightGatherer::ask_for_table(int rank) {
  talking_ = true;
  tell(rank, {kTable, 0, 0});
  int64_t size = 0;
  world_.recv(std::span(&size, 1), rank, kAnswerTag);
  std::vector<int64_t> words(static_cast<size_t>(size));
  world_.recv(std::span(words), rank, kAnswerTag);
  talking_ = false;
  return decode(words);
}

void WeightGatherer::serve() {
  while (true) {
    Request request{};
    world_.recv(std::span<int64_t>(request), 0, kRequestTag);
    const auto [kind, begin, count] = request;
    if (kind == kDone) return;
    if (kind == kFailed) rethrow_failure(request);
    if (kind == kTable)
      send_table();
    else
      world_.send(held(kind, begin, count), 0, kAnswerTag);
  }
}

// On the host.
Tensor WeightGatherer::held(int64_t piece, int64_t begin, int64_t count) const {
  return to_host(stream_, pieces_.at(static_cast<size_t>(piece)).master.flat_view(begin, {count}));
}

void WeightGatherer::send_table() {
  const std::vector<int64_t> words = encode(held_runs());
  const int64_t size = std::ssize(words);
  world_.send(std::span(&size, 1), 0, kAnswerTag);
  world_.send(std::span(words), 0, kAnswerTag);
}

void WeightGatherer::rethrow_failure(const Request& request) {
  std::vector<int64_t> words(static_cast<size_t>(request[2]));
  world_.recv(std::span(words), 0, kAnswerTag);
  WordReader text(words);
  const std::string component = text.text(), problem = text.text(), remedy = text.text();
  throw Error(static_cast<ErrorCode>(request[1]), component, "on rank 0: " + problem, remedy);
}

void WeightGatherer::read(const std::string& name, int64_t row0, int64_t rows, std::span<float> out) {
  read_rows(name, row0, rows, out);
}

void WeightGatherer::read(const std::string& name, int64_t row0, int64_t rows, std::span<double> out) {
  read_rows(name, row0, rows, out);
}

template <class T>
void WeightGatherer::read_rows(const std::string& name, int64_t row0, int64_t rows, std::span<T> out) {
  TRIDENT_CHECK(working_, "reading outside run()");
  const int64_t columns = table_.whole(name).columns;
  TRIDENT_CHECK(std::ssize(out) == rows * columns, name);
  const int64_t band = std::max<int64_t>(1, kElementsAtOnce / std::max<int64_t>(1, columns));
  for (int64_t row = 0; row < rows; row += band) {
    const int64_t count = std::min(band, rows - row);
    read_band(name, row0 + row, count,
              out.subspan(static_cast<size_t>(row * columns), static_cast<size_t>(count * columns)));
  }
}

template <class T>
void WeightGatherer::read_band(const std::string& name, int64_t row0, int64_t rows, std::span<T> out) {
  const int64_t columns = table_.whole(name).columns;
  const DType dtype = table_.dtype(name);
  const std::vector<Fragment> fragments = table_.fragments(name, row0, rows);
  const std::vector<Tensor> fetched = fetch(fragments, dtype);
  for (size_t i = 0; i < fragments.size(); ++i) {
    if (dtype == DType::fp64)
      place(fragments[i], fetched[i].data<double>(), row0, columns, out);
    else
      place(fragments[i], fetched[i].data<float>(), row0, columns, out);
  }
}

// All requests and answers of a band are under way together: the ranks answer at the same time, and none waits for one
// that is busy with an earlier answer.
std::vector<Tensor> WeightGatherer::fetch(std::span<const Fragment> fragments, DType dtype) {
  std::vector<Tensor> fetched;
  for (const Fragment& fragment : fragments) {
    fetched.push_back(fragment.rank == 0 ? held(fragment.piece, fragment.offset, fragment.count)
                                         : HeapAllocator().allocate({fragment.count}, dtype));
  }
  requests_.assign(fragments.size(), {});  // a member: should a wait throw, sends under way still have their memory
  std::vector<Pending> pending;
  talking_ = true;
  for (size_t i = 0; i < fragments.size(); ++i) {
    const Fragment& fragment = fragments[i];
    if (fragment.rank == 0) continue;
    requests_[i] = {fragment.piece, fragment.offset, fragment.count};
    pending.push_back(world_.recv_async(fetched[i], fragment.rank, kAnswerTag));
    pending.push_back(world_.send_async(std::span<const int64_t>(requests_[i]), fragment.rank, kRequestTag));
  }
  for (Pending& operation : pending) operation.wait();
  talking_ = false;
  return fetched;
}

}  // namespace trident
