#pragma once

#include <string>
#include <vector>

#include "core/error.h"

namespace trident::config {

/// A text that keys come from: the job file, or one command line argument.
struct Source {
  std::string name;  ///< "job.yaml" or "command line argument 2"
  std::string text;
};

/// A place in a source; line and column count from 1, the column in bytes.
struct Place {
  int source = 0;
  int line = 1;
  int column = 1;

  auto operator<=>(const Place&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 misreads it
};

/// One thing wrong with a job. `code` is stable (E101 …); W codes are warnings.
struct Problem {
  Place place;
  std::string code;
  std::string problem;
  std::string remedy;
};

/// All problems of one pass over a job, with the texts that they point into.
class Diagnostics {
 public:
  int add_source(std::string name, std::string text);
  void add(Place place, std::string code, std::string problem, std::string remedy);
  void warn(Place place, std::string code, std::string problem, std::string remedy);

  bool failed() const { return !errors_.empty() || suppressed_ > 0; }
  const std::vector<Source>& sources() const { return sources_; }
  const Source& source(int index) const { return sources_[static_cast<std::size_t>(index)]; }
  /// Every warning as one line.
  std::vector<std::string> warnings() const;
  /// Throws ConfigErrors with everything added so far; does nothing where there is no error.
  void throw_if_failed() const;

  /// "job.yaml:3:12"
  std::string where(Place place) const;

 private:
  std::string line_of(const Problem& problem) const;
  std::string excerpt(Place place) const;

  std::vector<Source> sources_;
  std::vector<Problem> errors_;
  std::vector<Problem> warnings_;
  std::size_t suppressed_ = 0;
};

}  // namespace trident::config

namespace trident {

/// The configuration is wrong (exit code 78); what() lists every problem as `file:line:col: problem; remedy [code]`,
/// each with its source line and a caret.
class ConfigErrors : public Error {
 public:
  ConfigErrors(const std::string& text, std::vector<config::Problem> problems);
  /// In the order in which what() lists them.
  const std::vector<config::Problem>& problems() const { return problems_; }

 private:
  std::vector<config::Problem> problems_;
};

}  // namespace trident
