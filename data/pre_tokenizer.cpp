#include "data/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "data/byte_alphabet.h"

namespace trident {
namespace {

struct Range {
  size_t begin;
  size_t end;
};

/// Turns the alternation of gaps and matches into pieces. Holds back one piece, which a neighbour may join.
template <class Emit>
class Joiner {
 public:
  Joiner(SplitBehavior behavior, Emit emit) : behavior_(behavior), emit_(std::move(emit)) {}

  void add(Range range, bool is_match) {
    if (behavior_ == SplitBehavior::isolated || (behavior_ == SplitBehavior::removed && !is_match)) {
      emit_(range);
    } else if (behavior_ != SplitBehavior::removed) {
      hold(range, is_match);
    }
  }

  void finish() {
    if (holding_) emit_(held_);
    holding_ = false;
  }

 private:
  void hold(Range range, bool is_match) {
    if (holding_ && joins(is_match)) {
      held_.end = range.end;
    } else {
      finish();
      held_ = range;
      holding_ = true;
    }
    previous_match_ = is_match;
  }

  bool joins(bool is_match) const {
    switch (behavior_) {
      case SplitBehavior::contiguous: return is_match == previous_match_;
      case SplitBehavior::merged_with_previous: return is_match && !previous_match_;
      case SplitBehavior::merged_with_next: return !is_match && previous_match_;
      default: return false;
    }
  }

  SplitBehavior behavior_;
  Emit emit_;
  Range held_{};
  bool holding_ = false;
  bool previous_match_ = false;
};

template <class Emit>
void split_once(const SplitPattern& pattern, SplitBehavior behavior, bool inverted, std::string_view text, Emit emit) {
  Joiner<Emit> joiner(behavior, std::move(emit));
  SplitPattern::Search search(pattern, text);
  SplitPattern::Match match{};
  size_t done = 0;
  while (search.next(match)) {
    if (done != match.begin) joiner.add({done, match.begin}, inverted);
    joiner.add({match.begin, match.end}, !inverted);
    done = match.end;
  }
  if (done != text.size()) joiner.add({done, text.size()}, inverted);
  joiner.finish();
}

size_t letters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

void PreTokenizer::add_split(SplitPattern pattern, SplitBehavior behavior, Matches matches) {
  Step step;
  step.pattern.push_back(std::move(pattern));
  step.behavior = behavior;
  step.inverted = matches == Matches::keep;
  step.in_alphabet = byte_alphabet_;
  steps_.push_back(std::move(step));
}

void PreTokenizer::add_prefix_space() { steps_.emplace_back(); }

void PreTokenizer::run(size_t index, std::string_view text, const Sink& sink) const {
  if (text.empty()) return;
  if (index == steps_.size()) {
    sink(text);
    return;
  }
  const Step& step = steps_[index];
  if (step.pattern.empty()) {
    if (text.front() == ' ') return run(index + 1, text, sink);
    std::string spaced(1, ' ');
    spaced += text;
    return run(index + 1, spaced, sink);
  }
  if (!step.in_alphabet) {
    split_once(step.pattern[0], step.behavior, step.inverted, text,
               [&](Range piece) { run(index + 1, text.substr(piece.begin, piece.end - piece.begin), sink); });
    return;
  }
  // Every letter of the alphabet is one byte of the text: count letters to find the cuts.
  const std::string spelt = to_byte_alphabet(text);
  const std::string_view view = spelt;
  Range seen{};  // `begin` in spelt, `end` in text
  split_once(step.pattern[0], step.behavior, step.inverted, view, [&](Range piece) {
    const size_t begin = seen.end + letters(view.substr(seen.begin, piece.begin - seen.begin));
    const size_t end = begin + letters(view.substr(piece.begin, piece.end - piece.begin));
    seen = {piece.end, end};
    run(index + 1, text.substr(begin, end - begin), sink);
  });
}

}  // namespace trident
