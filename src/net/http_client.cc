#include "net/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <thread>

namespace colony::net {
namespace {

constexpr size_t kHeadersMax = 200;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// What curl's callbacks see of one request.
struct Transfer {
  Transfer(const HttpClient::Take& the_take, const std::atomic<bool>* the_cancel,
           const Clock& the_clock, int stall)
      : take(the_take),
        cancel(the_cancel),
        clock(the_clock),
        stall_seconds(stall),
        moved_at(the_clock.seconds()) {}

  const HttpClient::Take& take;
  const std::atomic<bool>* const cancel;
  const Clock& clock;
  const double stall_seconds;
  HttpResponse response;
  bool ended_by_caller = false;
  bool stalled = false;
  curl_off_t moved = 0;
  double moved_at;
};

size_t on_body(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.take(transfer.response, std::string_view(data, size * count))) return size * count;
  transfer.ended_by_caller = true;
  return 0;
}

size_t on_header(char* data, size_t size, size_t count, void* user) {
  auto& response = static_cast<Transfer*>(user)->response;
  std::string_view line(data, size * count);
  while (line.ends_with('\r') || line.ends_with('\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {  // a new answer: of a proxy, or after "100 Continue"
    response.headers.clear();
    const size_t space = line.find(' ');
    response.status =
        space == std::string_view::npos
            ? 0
            : std::strtol(std::string(line.substr(space + 1, 3)).c_str(), nullptr, 10);
    return size * count;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size * count;
  std::string_view value = line.substr(colon + 1);
  while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
  while (value.ends_with(' ') || value.ends_with('\t')) value.remove_suffix(1);
  if (response.headers.size() < kHeadersMax) {
    response.headers[lower(line.substr(0, colon))] = std::string(value);
  }
  return size * count;
}

// Stalls are timed here: curl's own low-speed limit looks at the mean of the last seconds, and so
// notices a short limit late.
int on_progress(void* user, curl_off_t, curl_off_t down, curl_off_t, curl_off_t) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.cancel != nullptr && transfer.cancel->load()) return 1;
  const double now = transfer.clock.seconds();
  if (down != transfer.moved) {
    transfer.moved = down;
    transfer.moved_at = now;
  }
  transfer.stalled = now - transfer.moved_at > transfer.stall_seconds;
  return transfer.stalled ? 1 : 0;
}

}  // namespace

struct HttpClient::Handle {
  CURL* curl = nullptr;
};

std::string HttpResponse::header(const std::string& name) const {
  const auto at = headers.find(name);
  return at == headers.end() ? "" : at->second;
}

HttpClient::HttpClient(Options options, const std::atomic<bool>* cancel)
    : options_(std::move(options)), cancel_(cancel), handle_(std::make_unique<Handle>()) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  handle_->curl = curl_easy_init();
}

HttpClient::~HttpClient() {
  if (handle_->curl != nullptr) curl_easy_cleanup(handle_->curl);
}

Result<HttpResponse> HttpClient::request(const HttpRequest& request, const Take& take) {
  CURL* c = handle_->curl;
  if (c == nullptr) return unavailable("libcurl does not start");
  curl_easy_reset(c);
  const std::string origin = origin_of(request.url);
  Transfer transfer(take, cancel_, clock_, request.stall_seconds);
  std::array<char, CURL_ERROR_SIZE> why{};
  // The bytes as they are: a compressed answer has another length and ETag.
  curl_slist* list = curl_slist_append(nullptr, "Accept-Encoding: identity");
  if (!options_.token.empty() && origin == options_.token_origin) {
    list = curl_slist_append(list, ("Authorization: Bearer " + options_.token).c_str());
  }
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(list,
                                                                            curl_slist_free_all);
  curl_easy_setopt(c, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, options_.https_only ? "https" : "http,https");
  curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
  if (!options_.ca_file.empty()) curl_easy_setopt(c, CURLOPT_CAINFO, options_.ca_file.c_str());
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_USERAGENT, "colony/0.1");
  curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why.data());
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(c, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(c, CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, static_cast<long>(options_.connect_seconds));
  if (request.head) {
    curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, static_cast<long>(request.stall_seconds));
  }
  if (request.from > 0) {
    curl_easy_setopt(c, CURLOPT_RANGE, fmt::format("{}-", request.from).c_str());
  }
  const CURLcode code = curl_easy_perform(c);
  curl_easy_setopt(c, CURLOPT_ERRORBUFFER, nullptr);
  if (is_cancelled()) return cancelled("interrupted");
  if (code == CURLE_OK || transfer.ended_by_caller) return std::move(transfer.response);
  if (transfer.stalled) {
    return unavailable("{}: no byte for {} seconds", origin, request.stall_seconds);
  }
  const std::string reason = why[0] != '\0' ? why.data() : curl_easy_strerror(code);
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return invalid(
          "{}: its certificate is not trusted ({}); if it is your own, set SSL_CERT_FILE", origin,
          reason);
    case CURLE_UNSUPPORTED_PROTOCOL:
      return invalid("{}: refused, {} is wanted", origin, options_.https_only ? "https" : "http");
    case CURLE_URL_MALFORMAT:
      return invalid("'{}' is no address", origin.empty() ? request.url : origin);
    default:
      return unavailable("{}: {}", origin, reason);
  }
}

bool HttpClient::pause(double seconds) const {
  constexpr auto kPiece = std::chrono::milliseconds(20);
  const double until = clock_.seconds() + seconds;
  while (!is_cancelled() && clock_.seconds() < until) std::this_thread::sleep_for(kPiece);
  return !is_cancelled();
}

std::string origin_of(const std::string& url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string::npos) return "";
  return lower(std::string_view(url).substr(0, url.find_first_of("/?#\\", scheme + 3)));
}

std::string resolve_location(const std::string& base, const std::string& location) {
  const std::string start = lower(location.substr(0, 8));
  if (start.starts_with("http://") || start.starts_with("https://")) return location;
  if (location.starts_with("//")) return base.substr(0, base.find(':') + 1) + location;
  if (location.starts_with('/')) return origin_of(base) + location;
  return base.substr(0, base.rfind('/') + 1) + location;
}

std::string percent_encoded(std::string_view text, std::string_view keep) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (plain || keep.find(c) != std::string_view::npos)
      out += c;
    else
      out += fmt::format("%{:02X}", byte);
  }
  return out;
}

}  // namespace colony::net
