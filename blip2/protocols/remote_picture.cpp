#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/io/utf8.h"
#include "blip2/protocols/public_address_internal.h"
#include "blip2/protocols/remote_picture_internal.h"
#include "blip2/protocols/request_error.h"
#include "blip2/protocols/request_json_internal.h"

namespace blip2 {
namespace {

constexpr std::size_t kMostHeaderBytes = 64u << 10;

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

// libcurl's parser of URLs, so that the host that is checked is the one that is connected to.
class Url {
 public:
  Url(const std::string& text, const std::string& param) : url_(curl_url(), curl_url_cleanup) {
    if (curl_url_set(url_.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME) !=
        CURLUE_OK) {
      refuse(param, "the URL is not valid", "invalid_image_url");
    }
  }
  // Empty if the URL has none.
  std::string part(CURLUPart which) const {
    char* text = nullptr;
    if (curl_url_get(url_.get(), which, &text, 0) != CURLUE_OK) return {};
    const std::unique_ptr<char, void (*)(void*)> owner(text, curl_free);
    return text;
  }
  CURLU* get() const { return url_.get(); }

 private:
  std::unique_ptr<CURLU, void (*)(CURLU*)> url_;
};

// What libcurl's callbacks see.
struct Transfer {
  const PictureRules& rules;
  const FetchOptions& options;
  std::string bytes;
  std::size_t header_bytes = 0;
  bool too_large = false, forbidden = false;

  bool is_allowed(const std::string& address) const {
    const auto& test = options.test_addresses;
    return is_public_address(address) || std::find(test.begin(), test.end(), address) != test.end();
  }
};

// Before each connection: the address that the name was resolved to.
curl_socket_t open_socket(void* data, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(data);
  if (!transfer.is_allowed(address_text(address->addr))) {
    transfer.forbidden = true;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// After it, before the request is sent: the address that was connected to.
int before_request(void* data, char* address, char*, int, int) {
  auto& transfer = *static_cast<Transfer*>(data);
  if (transfer.is_allowed(address)) return CURL_PREREQFUNC_OK;
  transfer.forbidden = true;
  return CURL_PREREQFUNC_ABORT;
}

std::size_t take_bytes(char* bytes, std::size_t, std::size_t count, void* data) {
  auto& transfer = *static_cast<Transfer*>(data);
  transfer.too_large = transfer.bytes.size() + count > transfer.rules.max_bytes;
  if (transfer.too_large) return 0;
  transfer.bytes.append(bytes, count);
  return count;
}

std::size_t count_header(char*, std::size_t, std::size_t count, void* data) {
  auto& seen = static_cast<Transfer*>(data)->header_bytes;
  seen += count;
  return seen > kMostHeaderBytes ? 0 : count;
}

using Curl = std::unique_ptr<CURL, void (*)(CURL*)>;

template <typename Value>
void set(const Curl& curl, CURLoption option, Value value) {
  if (curl_easy_setopt(curl.get(), option, value) != CURLE_OK) {
    throw Error(fmt::format("libcurl refuses its option {}", static_cast<int>(option)));
  }
}

// What keeps the transfer to one request of https to an allowed address.
void set_rules(const Curl& curl, Transfer& transfer) {
  set(curl, CURLOPT_PROTOCOLS_STR, "https");
  set(curl, CURLOPT_FOLLOWLOCATION, 0L);
  set(curl, CURLOPT_PROXY, "");  // also keeps the environment's out
  set(curl, CURLOPT_NOPROXY, "*");
  set(curl, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(curl, CURLOPT_SSL_VERIFYPEER, 1L);
  set(curl, CURLOPT_SSL_VERIFYHOST, 2L);
  set(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(curl, CURLOPT_OPENSOCKETFUNCTION, &open_socket);
  set(curl, CURLOPT_OPENSOCKETDATA, &transfer);
  set(curl, CURLOPT_PREREQFUNCTION, &before_request);
  set(curl, CURLOPT_PREREQDATA, &transfer);
  const std::string& authority = transfer.options.test_authority;
  if (!authority.empty()) set(curl, CURLOPT_CAINFO, authority.c_str());
}

void set_bounds(const Curl& curl, Transfer& transfer) {
  set(curl, CURLOPT_NOSIGNAL, 1L);
  set(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(transfer.options.connect_limit.count()));
  set(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(transfer.options.limit.count()));
  set(curl, CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(transfer.rules.max_bytes));
  set(curl, CURLOPT_WRITEFUNCTION, &take_bytes);
  set(curl, CURLOPT_WRITEDATA, &transfer);
  set(curl, CURLOPT_HEADERFUNCTION, &count_header);
  set(curl, CURLOPT_HEADERDATA, &transfer);
  set(curl, CURLOPT_USERAGENT, "blip2");
}

void check_url(const Url& url, const PictureRules& rules, const FetchOptions& options,
               const std::string& param) {
  const std::string host = url.part(CURLUPART_HOST), port = url.part(CURLUPART_PORT);
  if (url.part(CURLUPART_SCHEME) != "https")
    refuse(param, "expected an https:// URL", "invalid_image_url");
  if (!url.part(CURLUPART_USER).empty() || !url.part(CURLUPART_PASSWORD).empty()) {
    refuse(param, "expected a URL without user and password", "invalid_image_url");
  }
  const bool of_test = options.test_port != 0 && port == std::to_string(options.test_port);
  if (!port.empty() && port != "443" && !of_test) {
    refuse(param, fmt::format("expected port 443, got {}", port), "invalid_image_url");
  }
  if (is_allowed_host(host, rules.hosts)) return;
  refuse(param, fmt::format("this server fetches no pictures from the host '{}'", printable(host)),
         "image_host_not_allowed");
}

using Multi = std::unique_ptr<CURLM, CURLMcode (*)(CURLM*)>;

// Runs the transfer; CURLE_ABORTED_BY_CALLBACK soon after it is cancelled.
CURLcode run(const Curl& curl, const FetchOptions& options) {
  constexpr int kStepMs = 50;
  const Multi multi(curl_multi_init(), curl_multi_cleanup);
  if (!multi || curl_multi_add_handle(multi.get(), curl.get()) != CURLM_OK)
    return CURLE_FAILED_INIT;
  CURLcode result = CURLE_ABORTED_BY_CALLBACK;
  for (int running = 1; running > 0 && !(options.cancelled && options.cancelled());) {
    if (curl_multi_perform(multi.get(), &running) != CURLM_OK) break;
    if (running > 0) curl_multi_poll(multi.get(), nullptr, 0, kStepMs, nullptr);
  }
  int left = 0;
  const CURLMsg* message = curl_multi_info_read(multi.get(), &left);
  if (message != nullptr && message->msg == CURLMSG_DONE) result = message->data.result;
  curl_multi_remove_handle(multi.get(), curl.get());
  return result;
}

[[noreturn]] void refuse_transfer(CURLcode code, const Transfer& transfer,
                                  const std::string& param) {
  if (transfer.forbidden) {
    refuse(param, "the picture's host has no public address", "image_host_not_allowed");
  }
  if (transfer.too_large || code == CURLE_FILESIZE_EXCEEDED) {
    refuse(param, fmt::format("the picture has more than {} bytes", transfer.rules.max_bytes),
           "image_too_large");
  }
  if (code == CURLE_OPERATION_TIMEDOUT) {
    throw RequestError(504, "image_timeout", param,
                       param + ": the picture's host did not answer in time");
  }
  const bool cancelled = code == CURLE_ABORTED_BY_CALLBACK;
  refuse(param,
         cancelled ? "the request was cancelled"
                   : fmt::format("the picture could not be fetched: {}", curl_easy_strerror(code)),
         "image_not_found");
}

}  // namespace

bool is_allowed_host(const std::string& host, const std::vector<std::string>& allowed) {
  const std::string name = lower_case(host);
  return std::any_of(allowed.begin(), allowed.end(), [&](const std::string& entry) {
    const std::string one = lower_case(entry);
    if (!one.starts_with('.')) return !one.empty() && name == one;
    return name.ends_with(one) && name.size() > one.size();
  });
}

std::string fetch_remote_picture(const std::string& text, const PictureRules& rules,
                                 const FetchOptions& options, const std::string& param) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  const Curl curl(started == CURLE_OK ? curl_easy_init() : nullptr, curl_easy_cleanup);
  if (!curl) throw Error("libcurl could not start");
  const Url url(text, param);
  check_url(url, rules, options, param);
  Transfer transfer{rules, options, {}};
  set(curl, CURLOPT_CURLU, url.get());
  set_rules(curl, transfer);
  set_bounds(curl, transfer);
  const CURLcode code = run(curl, options);
  if (code != CURLE_OK) refuse_transfer(code, transfer, param);
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) {
    refuse(param, fmt::format("the picture's host answered with status {}", status),
           "image_not_found");
  }
  return std::move(transfer.bytes);
}

}  // namespace blip2
