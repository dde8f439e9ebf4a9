#include "launch/status/status_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/signals_blocked.h"
#include "launch/status/bounded_http.h"
#include "launch/status/exposition.h"
#include "launch/status/page.h"
#include "launch/status/run_status.h"
#include "launch/status/state_json.h"
#include "train/metrics/json_text.h"

namespace trident {
namespace {

constexpr const char* kComponent = "launch/status";
constexpr std::chrono::milliseconds kFresh{400};

double unix_now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

bool is_loopback(const std::string& host) {
  in_addr address{};
  const bool four = ::inet_pton(AF_INET, host.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24U) == 127;
  return four || host == "localhost" || host == "::1" || host == "[::1]";
}

std::string without_port(const std::string& host) {
  return host.ends_with(']') ? host : host.substr(0, host.rfind(':'));
}

// What requests are answered from; made anew when it is older than a moment.
class Snapshot {
 public:
  Snapshot(RunDirectory run, RunFacts facts, const RankBoard& board)
      : run_(std::move(run)), facts_(std::move(facts)), files_(run_), board_(board) {}
  std::shared_ptr<const RunStatus> get() {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (status_ && now - made_ < kFresh) return status_;
    files_.update();
    status_ = std::make_shared<RunStatus>(make_status(run_, facts_, files_, board_.latest(), unix_now()));
    made_ = now;
    return status_;
  }

 private:
  std::mutex mutex_;
  RunDirectory run_;
  RunFacts facts_;
  RunFiles files_;
  const RankBoard& board_;
  std::chrono::steady_clock::time_point made_;
  std::shared_ptr<const RunStatus> status_;
};

void refuse(httplib::Response& response, int code, const char* why) {
  response.status = code;
  response.set_content(std::string(why) + "\n", "text/plain");
}

void answer(const httplib::Request& request, httplib::Response& response, Snapshot& snapshot) {
  response.set_header("Cache-Control", "no-store");
  response.set_header("X-Content-Type-Options", "nosniff");
  if (request.method != "GET" && request.method != "HEAD") return refuse(response, 405, "this server is only read");
  if (request.path == "/") {
    response.set_header("Content-Security-Policy", kStatusPagePolicy);
    response.set_content(std::string(status_page()), "text/html; charset=utf-8");
  } else if (request.path == "/metrics") {
    response.set_content(exposition(*snapshot.get()), "text/plain; version=0.0.4; charset=utf-8");
  } else if (request.path == "/api/state") {
    response.set_content(state_json(*snapshot.get()), "application/json");
  } else if (request.path == "/healthz") {
    const auto status = snapshot.get();
    response.status = status->healthy ? 200 : 503;
    response.set_content(status->state + ": " + status->reason + "\n", "text/plain; charset=utf-8");
  } else {
    refuse(response, 404, "there are /, /metrics, /healthz and /api/state");
  }
}

;

// httplib ignores SIGPIPE for the whole process, and so for the ranks that are started from it.
std::unique_ptr<BoundedHttpServer> make_server() {
  struct sigaction before {};
  ::sigaction(SIGPIPE, nullptr, &before);
  auto server = std::make_unique<BoundedHttpServer>(BoundedHttpServer::Limits{});
  ::sigaction(SIGPIPE, &before, nullptr);
  return server;
}

}  // namespace

class StatusServer::Running {
 public:
  Running(const StatusOptions& options, RunDirectory run, RunFacts facts, const RankBoard& board)
      : file_(run.status()), snapshot_(std::move(run), std::move(facts), board), server_(make_server()) {
    const bool local = is_loopback(options.address);
    server_->set_pre_routing_handler([this, local](const httplib::Request& request, httplib::Response& response) {
      if (local && !is_loopback(without_port(request.get_header_value("Host"))))
        refuse(response, 403, "ask for 127.0.0.1 or localhost");
      else
        answer(request, response, snapshot_);
      return httplib::Server::HandlerResponse::Handled;
    });
    listen(options);
  }
  ~Running() {
    server_->stop_now();
    thread_.join();
    std::error_code ignored;
    std::filesystem::remove(file_, ignored);
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  void listen(const StatusOptions& options) {
    const int port = options.port > 0 ? (server_->bind_to_port(options.address, options.port) ? options.port : -1)
                                      : server_->bind_to_any_port(options.address);
    if (port <= 0)
      throw Error(ErrorCode::io, kComponent,
                  fmt::format("cannot listen at {}:{}: {}", options.address, options.port, std::strerror(errno)),
                  "give another logging.status_port or logging.status_address, or status_port: 0 for none");
    const bool brackets = options.address.find(':') != std::string::npos;
    url_ = fmt::format("http://{}{}{}:{}", brackets ? "[" : "", options.address, brackets ? "]" : "", port);
    write_file_atomically(file_, place());
    const SignalsBlocked blocked;
    thread_ = std::thread([this] { server_->listen_after_bind(); });
    // Before that it would not hear that it is to stop.
    while (!server_->is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  [[nodiscard]] std::string place() const {
    std::string text = "{\"v\":1,\"url\":";
    json_text::append_string(text, url_);
    text += ",\"host\":";
    json_text::append_string(text, host_name());
    return text + fmt::format(",\"pid\":{}}}\n", process_id());
  }

  std::filesystem::path file_;
  Snapshot snapshot_;
  std::unique_ptr<BoundedHttpServer> server_;
  std::string url_;
  std::thread thread_;
};

StatusServer::StatusServer(const StatusOptions& options, RunDirectory run, RunFacts facts, const RankBoard& board)
    : running_(std::make_unique<Running>(options, std::move(run), std::move(facts), board)) {}

StatusServer::~StatusServer() = default;

const std::string& StatusServer::url() const { return running_->url(); }

}  // namespace trident
