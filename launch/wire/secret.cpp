#include "launch/wire/secret.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <string>

#include "core/error.h"
#include "launch/unique_descriptor.h"

namespace trident {
namespace {

constexpr const char* kComponent = "launch/wire/secret";
constexpr size_t kDigits = 2 * SecretKey::kBytes;

/// A secret's line, wiped at its end.
struct Line {
  std::array<char, kDigits + 1> text{};

  Line() = default;
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;
  ~Line() { OPENSSL_cleanse(text.data(), text.size()); }
};

void encode(const SecretKey& key, Line& line) {
  constexpr char kHex[] = "0123456789abcdef";
  size_t at = 0;
  for (const uint8_t byte : key.bytes()) {
    line.text[at++] = kHex[byte >> 4U];
    line.text[at++] = kHex[byte & 0xfU];
  }
  line.text[at] = '\n';
}

bool decode(const Line& line, SecretKey& key) {
  const char* at = line.text.data();
  for (uint8_t& byte : key.bytes()) {
    if (std::from_chars(at, at + 2, byte, 16).ptr != at + 2) return false;
    at += 2;
  }
  return *at == '\n';
}

// Byte by byte: what follows the line on a pipe is for somebody else.
bool read_line(int descriptor, Line& line) {
  for (char& each : line.text) {
    ssize_t got = 0;
    do got = ::read(descriptor, &each, 1);
    while (got < 0 && errno == EINTR);
    if (got != 1) return false;
  }
  return true;
}

bool write_line(int descriptor, const Line& line) {
  size_t done = 0;
  while (done < line.text.size()) {
    const ssize_t put = ::write(descriptor, line.text.data() + done, line.text.size() - done);
    if (put < 0 && errno != EINTR) return false;
    if (put > 0) done += static_cast<size_t>(put);
  }
  return true;
}

void sync_folder(const std::filesystem::path& file) {
  const auto parent = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  const UniqueDescriptor folder(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open() || ::fsync(folder.get()) != 0)
    throw system_error(errno, kComponent, "cannot sync " + parent.string());
}

void require_private(int descriptor, const std::filesystem::path& file) {
  constexpr const char* kRemedy = "end the job, remove the file and start the job again: others may know the secret";
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw system_error(errno, kComponent, "cannot look at " + file.string());
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::bad_data, kComponent, file.string() + " " + why, kRemedy);
  };
  if (!S_ISREG(status.st_mode)) refuse("is no regular file");
  if (status.st_uid != geteuid()) refuse(fmt::format("belongs to user {}, expected {}", status.st_uid, geteuid()));
  if ((status.st_mode & 07177U) != 0) refuse(fmt::format("has mode {:04o}, expected 0600", status.st_mode & 07777U));
  if (status.st_nlink != 1) refuse(fmt::format("has {} names, expected one", status.st_nlink));
}

}  // namespace

SecretKey::~SecretKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

bool SecretKey::operator==(const SecretKey& other) const {
  return CRYPTO_memcmp(bytes_.data(), other.bytes_.data(), bytes_.size()) == 0;
}

JobSecret JobSecret::generate() {
  JobSecret secret;
  const auto bytes = secret.key_.bytes();
  // Up to 256 bytes come whole once the kernel's generator is seeded; until then a signal may interrupt the wait.
  ssize_t got = 0;
  do got = ::getrandom(bytes.data(), bytes.size(), 0);
  while (got < 0 && errno == EINTR);
  if (got != std::ssize(bytes)) throw system_error(errno, kComponent, "the kernel gives no random bytes");
  return secret;
}

JobSecret JobSecret::create(const std::filesystem::path& file) {
  const UniqueDescriptor out(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!out.is_open()) throw system_error(errno, kComponent, "cannot create " + file.string());
  JobSecret secret = generate();
  Line line;
  encode(secret.key_, line);
  if (!write_line(out.get(), line) || ::fsync(out.get()) != 0) {
    const int error = errno;
    (void)::unlink(file.c_str());
    throw system_error(error, kComponent, "cannot write " + file.string());
  }
  sync_folder(file);
  return secret;
}

JobSecret JobSecret::load(const std::filesystem::path& file) {
  // Not blocking: somebody may have put a pipe there.
  const UniqueDescriptor in(::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!in.is_open()) throw system_error(errno, kComponent, "cannot read " + file.string());
  require_private(in.get(), file);
  JobSecret secret;
  Line line;
  char more = 0;
  if (!read_line(in.get(), line) || !decode(line, secret.key_) || ::read(in.get(), &more, 1) != 0)
    throw Error(ErrorCode::bad_data, kComponent, file.string() + " is not one line of 64 hexadecimal digits",
                "remove it; the next start of the job makes a new one");
  return secret;
}

JobSecret JobSecret::receive(int descriptor) {
  JobSecret secret;
  Line line;
  if (!read_line(descriptor, line) || !decode(line, secret.key_))
    throw Error(
        ErrorCode::bad_data, kComponent,
        fmt::format("what came on descriptor {} is no secret: expected one line of 64 hexadecimal digits", descriptor),
        "node agents are started by `trident launch`, which hands it to them");
  return secret;
}

void JobSecret::send(int descriptor) const {
  Line line;
  encode(key_, line);
  if (!write_line(descriptor, line))
    throw system_error(errno, kComponent, fmt::format("cannot hand the secret on (descriptor {})", descriptor));
}

}  // namespace trident
