#include "launch/command_line.h"

#include <CLI/CLI.hpp>

#include <iostream>
#include <utility>

#include "core/error.h"
#include "launch/usage_problem.h"

namespace trident {
namespace {

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands({})) names.push_back(verb->get_name());
  return names;
}

std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

// The verb that the words name as far as they name one, and the words behind it.
std::string explain(const CLI::App& program, const CLI::ParseError& error, std::vector<std::string> words) {
  const CLI::App* at = &program;
  std::string path = program.get_name();
  size_t next = 0;
  for (; next < words.size(); ++next) {
    const auto verbs = at->get_subcommands([&](const CLI::App* verb) { return verb->get_name() == words[next]; });
    if (verbs.empty()) break;
    at = verbs.front();
    path += " " + words[next];
  }
  words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(next));
  return usage_problem({path, names_of(*at), options_of(*at), std::move(words)}, error.what());
}

}  // namespace

VerbOption& VerbOption::required() {
  option_->required();
  return *this;
}

VerbOption& VerbOption::type_name(const std::string& name) {
  option_->type_name(name);
  return *this;
}

VerbOption& VerbOption::show_default() {
  option_->capture_default_str();
  return *this;
}

VerbOption& VerbOption::range(int64_t least, int64_t most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

VerbOption& VerbOption::real_range(double least, double most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

VerbOption& VerbOption::non_negative() {
  option_->check(CLI::NonNegativeNumber);
  return *this;
}

VerbOption& VerbOption::one_of(const std::vector<std::string>& words) {
  option_->check(CLI::IsMember(words));
  return *this;
}

VerbOption& VerbOption::list(char delimiter, int count) {
  option_->delimiter(delimiter)->expected(count);
  return *this;
}

VerbOption& VerbOption::one_word() {
  option_->allow_extra_args(false);
  return *this;
}

VerbOption& VerbOption::excludes(const VerbOption& other) {
  option_->excludes(other.option_);
  return *this;
}

VerbOption& VerbOption::needs(const std::string& other) {
  option_->needs(other);
  return *this;
}

bool VerbOption::given() const { return option_->count() > 0; }

Verb Verb::add_verb(const std::string& name, const std::string& help) { return Verb(app_->add_subcommand(name, help)); }

void Verb::require_verb() { app_->require_subcommand(1); }

template <class T>
VerbOption Verb::add_option(const std::string& names, T& value, const std::string& help) {
  return VerbOption(app_->add_option(names, value, help));
}

template VerbOption Verb::add_option(const std::string&, std::string&, const std::string&);
template VerbOption Verb::add_option(const std::string&, std::vector<std::string>&, const std::string&);
template VerbOption Verb::add_option(const std::string&, std::vector<double>&, const std::string&);
template VerbOption Verb::add_option(const std::string&, double&, const std::string&);
template VerbOption Verb::add_option(const std::string&, int&, const std::string&);
template VerbOption Verb::add_option(const std::string&, int64_t&, const std::string&);
template VerbOption Verb::add_option(const std::string&, uint16_t&, const std::string&);
template VerbOption Verb::add_option(const std::string&, uint32_t&, const std::string&);
template VerbOption Verb::add_option(const std::string&, uint64_t&, const std::string&);

VerbOption Verb::add_option_function(const std::string& names, const std::function<void(const std::string&)>& take,
                                     const std::string& help) {
  return VerbOption(app_->add_option_function<std::string>(names, take, help));
}

VerbOption Verb::add_flag(const std::string& name, bool& value, const std::string& help) {
  return VerbOption(app_->add_flag(name, value, help));
}

void Verb::hide() { app_->group(""); }

void Verb::footer(const std::string& text) { app_->footer(text); }

void Verb::on_parsed(std::function<void()> call) { app_->callback(std::move(call)); }

CommandLine::CommandLine(const std::string& description, const std::string& version)
    : app_(std::make_unique<CLI::App>(description, "trident")) {
  app_->set_version_flag("--version", version);
  app_->set_help_all_flag("--help-all", "Help of every verb");
  app_->require_subcommand(1);
}

CommandLine::~CommandLine() = default;

std::optional<int> CommandLine::parse(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app_->exit(error);  // --help, --version
    std::cerr << explain(*app_, error, {argv + 1, argv + argc});
    return static_cast<int>(ErrorCode::usage);
  }
  return std::nullopt;
}

}  // namespace trident
