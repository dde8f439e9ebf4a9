#include "launch/process_facts.h"

#include <fstream>
#include <sstream>
#include <string>

namespace trident {
namespace {

// Where this process's control group counts what the kernel killed for want of memory: with version 1 in the memory
// controller's, which, where it is used, version 2 has not.
std::string file_of_kills() {
  std::ifstream file("/proc/self/cgroup");
  std::string path;
  for (std::string line; std::getline(file, line);) {
    const size_t controllers = line.find(':'), group = line.find(':', controllers + 1);
    if (controllers == std::string::npos || group == std::string::npos) continue;
    const std::string names = "," + line.substr(controllers + 1, group - controllers - 1) + ",";
    if (names.find(",memory,") != std::string::npos)
      return "/sys/fs/cgroup/memory" + line.substr(group + 1) + "/memory.oom_control";
    if (line.starts_with("0::")) path = "/sys/fs/cgroup" + line.substr(3) + "/memory.events";
  }
  return path;
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
  std::ifstream file(file_of_kills());
  std::string key;
  for (int64_t value = 0; file >> key >> value;) {
    if (key == "oom_kill") return value;
  }
  return 0;
}

}  // namespace trident
