#include "launch/process_facts.h"

#include <fstream>
#include <sstream>
#include <string>

namespace trident {
namespace {

// What /proc/PID/stat says after the process's name, which may hold anything; empty where it is gone.
std::string status_of(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::ostringstream text;
  text << file.rdbuf();
  const std::string line = text.str();
  const size_t name_end = line.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= line.size() ? std::string() : line.substr(name_end + 2);
}

}  // namespace

bool is_stopped(pid_t process) { return status_of(process).starts_with('T'); }

pid_t parent_of(pid_t process) {
  std::istringstream words(status_of(process));
  char state = 0;
  pid_t parent = 0;
  words >> state >> parent;
  return parent;
}

}  // namespace trident
