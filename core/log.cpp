#include "core/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>

#include "core/error.h"

namespace trident::log {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warning: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string pattern(int rank) {
  const std::string field = rank < 0 ? std::string() : fmt::format(" r{:03}", rank);
  return "%Y-%m-%dT%H:%M:%S.%eZ %^%L%$" + field + " %v";
}

// The process's one log is the exception to "no globals": every room may have something to say.
std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance = [] {
    const auto mode = std::getenv("NO_COLOR") != nullptr ? spdlog::color_mode::never : spdlog::color_mode::automatic;
    auto created =
        std::make_shared<spdlog::logger>("trident", std::make_shared<spdlog::sinks::stderr_color_sink_mt>(mode));
    created->set_pattern(pattern(-1), spdlog::pattern_time_type::utc);
    created->flush_on(spdlog::level::info);
    return created;
  }();
  return instance;
}

int& current_rank() {
  static int rank = -1;
  return rank;
}

}  // namespace

void configure(Level minimum, int rank) {
  current_rank() = rank;
  logger()->set_level(to_spdlog(minimum));
  logger()->set_pattern(pattern(rank), spdlog::pattern_time_type::utc);
}

void add_file(const std::string& path) {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
    sink->set_formatter(
        std::make_unique<spdlog::pattern_formatter>(pattern(current_rank()), spdlog::pattern_time_type::utc));
    logger()->sinks().push_back(std::move(sink));
  } catch (const spdlog::spdlog_ex& failure) {
    throw Error(ErrorCode::io, "log", failure.what(), "check that the run directory can be written");
  }
}

void write(Level level, std::string_view text) { logger()->log(to_spdlog(level), text); }

}  // namespace trident::log
