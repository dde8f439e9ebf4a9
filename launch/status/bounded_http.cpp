#include "launch/status/bounded_http.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace trident {
namespace {

using Clock = std::chrono::steady_clock;
using Limits = BoundedHttpServer::Limits;

// A few threads and no queue: whoever brings a task while all are at work waits.
class FewThreads : public httplib::TaskQueue {
 public:
  explicit FewThreads(size_t count) {
    for (size_t i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
  }
  void enqueue(std::function<void()> task) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return tasks_.size() + busy_ < threads_.size(); });
    tasks_.push_back(std::move(task));
    changed_.notify_all();
  }
  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const auto task = std::move(tasks_.front());
      tasks_.pop_front();
      ++busy_;
      lock.unlock();
      task();
      lock.lock();
      --busy_;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<std::function<void()>> tasks_;
  size_t busy_ = 0;
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

// A connection whose whole request and whole answer have their time, however slowly bytes come.
class BoundedStream : public httplib::Stream {
 public:
  BoundedStream(int socket, const Limits& limits, const std::atomic<bool>& stopping)
      : socket_(socket),
        left_(limits.request_bytes),
        read_by_(Clock::now() + limits.request_time),
        write_by_(Clock::now() + limits.request_time + limits.answer_time),
        stopping_(stopping) {}

  [[nodiscard]] bool is_readable() const override { return ready(POLLIN, read_by_); }
  [[nodiscard]] bool is_writable() const override { return ready(POLLOUT, write_by_); }
  ssize_t read(char* bytes, size_t size) override {
    // httplib asks byte by byte.
    if (begin_ == buffer_.size()) {
      if (left_ == 0 || !ready(POLLIN, read_by_)) return -1;
      buffer_.resize(std::min<size_t>(left_, 4096));
      const ssize_t got = ::recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      buffer_.resize(got > 0 ? static_cast<size_t>(got) : 0);
      begin_ = 0;
      if (got <= 0) return got;
      left_ -= buffer_.size();
    }
    const size_t count = std::min(size, buffer_.size() - begin_);
    buffer_.copy(bytes, count, begin_);
    begin_ += count;
    return static_cast<ssize_t>(count);
  }
  ssize_t write(const char* bytes, size_t size) override {
    if (!ready(POLLOUT, write_by_)) return -1;
    return ::send(socket_, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override { ip.clear(), port = 0; }
  void get_local_ip_and_port(std::string& ip, int& port) const override { ip.clear(), port = 0; }
  [[nodiscard]] socket_t socket() const override { return socket_; }

 private:
  [[nodiscard]] bool ready(short events, Clock::time_point deadline) const {
    constexpr std::chrono::milliseconds kLook{100};
    while (!stopping_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      if (left.count() <= 0) return false;
      pollfd event{socket_, events, 0};
      const int found = ::poll(&event, 1, static_cast<int>(std::min(left, kLook).count()));
      if (found > 0) return true;
      if (found < 0 && errno != EINTR) return false;
    }
    return false;
  }

  int socket_;
  size_t left_;  // bytes that the request may still have
  Clock::time_point read_by_, write_by_;
  const std::atomic<bool>& stopping_;
  std::string buffer_;
  size_t begin_ = 0;
};

void close_on_exec(int socket) { (void)::fcntl(socket, F_SETFD, FD_CLOEXEC); }

}  // namespace

BoundedHttpServer::BoundedHttpServer(Limits limits) : limits_(limits) {
  new_task_queue = [count = limits.connections] { return new FewThreads(count); };
  // Not httplib's SO_REUSEPORT, with which two servers share a port unnoticed.
  set_socket_options([](socket_t sock) {
    const int yes = 1;
    (void)::setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    close_on_exec(sock);
  });
}

void BoundedHttpServer::stop_now() {
  stopping_ = true;
  stop();
}

bool BoundedHttpServer::process_and_close_socket(socket_t sock) {
  close_on_exec(sock);
  bool closed = false;
  bool answered = false;
  {
    BoundedStream stream(sock, limits_, stopping_);
    // Of ranges a client may ask for thousands.
    answered = process_request(stream, true, closed, [](httplib::Request& request) { request.ranges.clear(); });
  }
  // Also where a process that was just started holds the descriptor too.
  ::shutdown(sock, SHUT_RDWR);
  ::close(sock);
  return answered;
}

}  // namespace trident
