#include "launch/process_facts.h"

#include <fstream>
#include <sstream>
#include <string>

namespace trident {
namespace {

// Of version 2; empty where there is none.
std::string control_group() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("0::")) return line.substr(3);
  }
  return {};
}

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

int64_t kernel_kills() {
  std::ifstream file("/sys/fs/cgroup" + control_group() + "/memory.events");
  std::string key;
  for (int64_t value = 0; file >> key >> value;) {
    if (key == "oom_kill") return value;
  }
  return 0;
}

}  // namespace trident
