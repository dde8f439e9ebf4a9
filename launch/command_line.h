#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace trident {

// The command line, by CLI11, whose header only command_line.cpp compiles: it costs seconds wherever it stands. What is
// added here belongs to the CommandLine, which outlives it.

/// An option, a flag or a word of a verb.
class VerbOption {
 public:
  explicit VerbOption(CLI::Option* option) : option_(option) {}

  VerbOption& required();
  /// What help calls its value.
  VerbOption& type_name(const std::string& name);
  /// Help shows what stands where it is not given.
  VerbOption& show_default();
  VerbOption& range(int64_t least, int64_t most);
  VerbOption& real_range(double least, double most);
  VerbOption& non_negative();
  VerbOption& one_of(const std::vector<std::string>& words);
  /// Several values in one word, between them this.
  VerbOption& list(char delimiter, int count);
  /// Each time it is given it takes one word, where a vector would take all that follow.
  VerbOption& one_word();
  VerbOption& excludes(const VerbOption& other);
  VerbOption& needs(const std::string& other);

  [[nodiscard]] bool given() const;

 private:
  CLI::Option* option_;
};

/// `trident` itself, or one of its verbs.
class Verb {
 public:
  explicit Verb(CLI::App* app) : app_(app) {}

  Verb add_verb(const std::string& name, const std::string& help);
  /// One of its verbs must follow.
  void require_verb();
  /// `names`: "--long", "--one,--other", or a word by its place. `T`: std::string, int, int64_t, uint16_t, uint32_t,
  /// uint64_t, double, or a vector of strings or doubles. `value` must live until the command line is parsed.
  template <class T>
  VerbOption add_option(const std::string& names, T& value, const std::string& help = {});
  /// `take` is given the word.
  VerbOption add_option_function(const std::string& names, const std::function<void(const std::string&)>& take,
                                 const std::string& help);
  /// "!--no-x" is set to false where it is given.
  VerbOption add_flag(const std::string& name, bool& value, const std::string& help);
  /// No help lists it.
  void hide();
  /// Below its help.
  void footer(const std::string& text);
  /// What is called once it is parsed.
  void on_parsed(std::function<void()> call);

 private:
  CLI::App* app_;
};

class CommandLine {
 public:
  CommandLine(const std::string& description, const std::string& version);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  [[nodiscard]] Verb root() { return Verb(app_.get()); }
  /// Nothing where a verb is to run. Otherwise the exit code: help or version were shown, or a usage problem was told.
  [[nodiscard]] std::optional<int> parse(int argc, char** argv);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace trident
