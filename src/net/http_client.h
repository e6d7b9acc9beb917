// One HTTP request at a time over libcurl, for the hub client.
//
// Certificates are always checked. Redirects are not followed: the caller decides where a token may
// go. Connections are kept between requests.
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace colony::net {

struct HttpResponse {
  long status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  // "" when there is none.
  std::string header(const std::string& name) const;
};

struct HttpRequest {
  std::string url;
  bool head = false;
  uint64_t from = 0;       // > 0 asks for the bytes from there on
  int stall_seconds = 10;  // no byte for so long ends it; for HEAD the time of the whole request
};

class HttpClient {
 public:
  struct Options {
    std::string token;              // "" = none
    std::string token_origin;       // the only origin that is sent the token
    bool https_only = false;        // plain http is refused, also where a redirect leads
    std::filesystem::path ca_file;  // certificates to trust; "" = the system's
    int connect_seconds = 10;
  };
  // `cancel` is borrowed, and may be null.
  HttpClient(Options options, const std::atomic<bool>* cancel);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Called with the status and headers, and the next bytes of the body; false ends the request, and
  // what was answered so far is its result.
  using Take = std::function<bool(const HttpResponse&, std::string_view)>;

  // Fails kUnavailable (no connection, a broken or stalled one: trying again may help), kInvalid
  // (an address that is refused, a certificate that is not trusted), kCancelled.
  Result<HttpResponse> request(const HttpRequest& request, const Take& take);

  bool is_cancelled() const { return cancel_ != nullptr && cancel_->load(); }
  // Waits; false when cancelled meanwhile.
  bool pause(double seconds) const;

 private:
  struct Handle;
  const Options options_;
  const std::atomic<bool>* const cancel_;
  const std::unique_ptr<Handle> handle_;
  const SystemClock clock_;
};

// scheme://host:port of a URL, in lower case; "" when it has none.
std::string origin_of(const std::string& url);
// The URL that a Location header means, as seen from `base`.
std::string resolve_location(const std::string& base, const std::string& location);
// All but letters, digits and the characters of `keep` as %XX.
std::string percent_encoded(std::string_view text, std::string_view keep);

}  // namespace colony::net
