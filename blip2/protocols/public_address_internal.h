#pragma once

#include <sys/socket.h>

#include <string>

namespace blip2 {

// Whether the address is one of the public internet: none of a private, shared, loopback,
// link-local, multicast, documentation or other special range (IANA's registries of special-purpose
// addresses), and no IPv6 address that holds an IPv4 one. False for other families than IPv4 and
// IPv6.
bool is_public_address(const sockaddr& address);
// The same of an address in text form; false if the text is none.
bool is_public_address(const std::string& address);

// "192.0.2.1", "2001:db8::1"; empty for other families.
std::string address_text(const sockaddr& address);

}  // namespace blip2
