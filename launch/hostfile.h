#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace trident {

/// A line of a hostfile.
struct Host {
  std::string name;
  int slots = 1;  ///< ranks that it takes

  [[nodiscard]] bool operator==(const Host&) const = default;
};

/// Open MPI's form: a line a host, `name slots=N`; `#` begins a comment; a name that comes again adds its slots. Throws
/// Error(bad_data) with file and line, and with the system's reason where it cannot be read.
[[nodiscard]] std::vector<Host> read_hostfile(const std::filesystem::path& path);

/// The number of the first host that is this machine: by its name, else by an address of one of its interfaces. Throws
/// Error(config) where none is.
[[nodiscard]] int find_this_machine(const std::vector<Host>& hosts);

/// The numeric address of this machine from which it reaches that host. Throws Error(config) where the name is unknown
/// or no network leads there.
[[nodiscard]] std::string address_towards(const std::string& host);

}  // namespace trident
