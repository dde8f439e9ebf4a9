#include "launch/hostfile.h"

#include <fmt/format.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <set>
#include <sstream>

#include "core/error.h"
#include "launch/unique_descriptor.h"
#include "train/config/text_file.h"
#include "train/metrics/run_directory.h"

namespace trident {
namespace {

constexpr const char* kComponent = "launch/hostfile";

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

AddressList resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), "9", &hints, &found);
  if (error != 0)
    throw Error(ErrorCode::config, kComponent, fmt::format("{}: {}", host, gai_strerror(error)),
                "write names into the hostfile that every host can look up, or numeric addresses");
  return {found, &freeaddrinfo};
}

std::string numeric(const sockaddr* address, socklen_t size) {
  char text[NI_MAXHOST];
  return getnameinfo(address, size, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0 ? text : std::string();
}

std::set<std::string> own_addresses() {
  std::set<std::string> own;
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return own;
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr) continue;
    const int family = each->ifa_addr->sa_family;
    if (family == AF_INET) own.insert(numeric(each->ifa_addr, sizeof(sockaddr_in)));
    if (family == AF_INET6) own.insert(numeric(each->ifa_addr, sizeof(sockaddr_in6)));
  }
  freeifaddrs(first);
  return own;
}

bool has_own_address(const std::string& host, const std::set<std::string>& own) {
  try {
    const AddressList found = resolve(host);
    for (const addrinfo* each = found.get(); each != nullptr; each = each->ai_next) {
      if (own.count(numeric(each->ai_addr, each->ai_addrlen)) > 0) return true;
    }
  } catch (const Error&) {
    // A name that only the remote shell knows is another machine.
  }
  return false;
}

std::string first_part(const std::string& name) { return name.substr(0, name.find('.')); }

Host parse_line(const std::string& line, const std::string& where) {
  std::istringstream words(line.substr(0, line.find('#')));
  Host host;
  words >> host.name;
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    const std::string_view value =
        equals == std::string::npos ? std::string_view() : std::string_view(word).substr(equals + 1);
    int number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    const bool fine = error == std::errc() && end == value.data() + value.size() && number > 0;
    if (!fine || (key != "slots" && key != "max_slots" && key != "max-slots"))
      throw Error(ErrorCode::bad_data, kComponent, fmt::format("{}: '{}'", where, word), "write `name slots=N`");
    if (key == "slots") host.slots = number;
  }
  return host;
}

}  // namespace

std::vector<Host> read_hostfile(const std::filesystem::path& path) {
  std::istringstream file(config::read_text_file(path.string(), "hostfile", "write a line `name slots=N` a machine"));
  std::vector<Host> hosts;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    const Host host = parse_line(line, fmt::format("{}:{}", path.string(), number));
    if (host.name.empty()) continue;
    const auto known = std::find_if(hosts.begin(), hosts.end(), [&](const Host& h) { return h.name == host.name; });
    if (known == hosts.end())
      hosts.push_back(host);
    else
      known->slots += host.slots;
  }
  if (hosts.empty())
    throw Error(ErrorCode::bad_data, kComponent, path.string() + " names no host",
                "write a line `name slots=N` a machine");
  return hosts;
}

int find_this_machine(const std::vector<Host>& hosts) {
  const std::string own_name = host_name();
  const auto number_of = [&](const auto& is_own) -> std::optional<int> {
    const auto found = std::find_if(hosts.begin(), hosts.end(), [&](const Host& host) { return is_own(host.name); });
    return found == hosts.end() ? std::nullopt : std::optional(static_cast<int>(found - hosts.begin()));
  };
  // An address may be that of several names.
  if (const auto named = number_of([&](const std::string& name) { return name == own_name; })) return *named;
  const std::string short_name = first_part(own_name);
  if (const auto named = number_of([&](const std::string& name) { return first_part(name) == short_name; }))
    return *named;
  const auto own = own_addresses();
  if (const auto reached = number_of([&](const std::string& name) { return has_own_address(name, own); }))
    return *reached;
  throw Error(ErrorCode::config, kComponent, "this machine, " + own_name + ", is not in the hostfile",
              "start the job on one of its hosts");
}

std::string address_towards(const std::string& host) {
  const AddressList found = resolve(host);
  for (const addrinfo* each = found.get(); each != nullptr; each = each->ai_next) {
    const UniqueDescriptor socket(::socket(each->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_storage own{};
    socklen_t size = sizeof(own);
    if (socket.is_open() && ::connect(socket.get(), each->ai_addr, each->ai_addrlen) == 0 &&
        ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0)
      return numeric(reinterpret_cast<const sockaddr*>(&own), size);
  }
  throw Error(ErrorCode::config, kComponent, "no network leads to " + host);
}

}  // namespace trident
