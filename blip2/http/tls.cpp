#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509err.h>

#include <boost/asio/ssl/error.hpp>
#include <string>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/http/tls_internal.h"

namespace blip2 {
namespace {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

// A key behind a password would make OpenSSL ask at the terminal.
std::string no_password(std::size_t, ssl::context::password_purpose) {
  return {};
}

ssl::context plain_context() {
  ssl::context context(ssl::context::tls_server);
  context.set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 |
                      ssl::context::no_sslv3 | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1 |
                      ssl::context::no_compression | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context.native_handle(), SSL_MODE_RELEASE_BUFFERS);
  context.set_password_callback(no_password);
  return context;
}

bool is_mismatch(const error_code& error) {
  const auto code = static_cast<unsigned long>(error.value());
  return ERR_GET_LIB(code) == ERR_LIB_X509 && (ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH ||
                                               ERR_GET_REASON(code) == X509_R_KEY_TYPE_MISMATCH);
}

}  // namespace

std::optional<ssl::context> make_tls(const std::filesystem::path& certificate,
                                     const std::filesystem::path& key) {
  if (certificate.empty() && key.empty()) return std::nullopt;
  need(!certificate.empty() && !key.empty(), "a certificate and its key are needed together",
       "TLS " + certificate.string() + key.string());
  read_file(certificate);  // for the Error that says why it cannot be read
  read_file(key);
  ssl::context context = plain_context();
  error_code error;
  context.use_certificate_chain_file(certificate.string(), error);
  if (error)
    throw Error("not a certificate in PEM (" + error.message() + ")", certificate.string());
  context.use_private_key_file(key.string(), ssl::context::pem, error);
  if (error && !is_mismatch(error)) {
    throw Error("not a private key in PEM without a password (" + error.message() + ")",
                key.string());
  }
  need(!error && SSL_CTX_check_private_key(context.native_handle()) == 1,
       "the key does not fit the certificate " + certificate.string(), key.string());
  return context;
}

}  // namespace blip2
