// Finding what should not be learnt by heart: e-mail addresses, IP addresses, telephone numbers, keys and
// secrets.
//
// One pass; each kind has a few bytes that it cannot do without ("@", a digit, "+", "_", …), and only there
// is the text looked at closely. What is found:
//
// email  local@domain with a known kind of top-level domain. Not: reserved names (example.com, .test,
//        .invalid, localhost: RFC 2606, 6761), the user "git" of repositories, what is called as a
//        function (a@b.mean()).
// ip     IPv4 addresses that are routed (not private, loopback, documentation, multicast: RFC 6890) and IPv6
//        global unicast addresses (2000::/3 but 2001:db8::/32). Not: public resolvers, and what looks like a
//        version or a section number: behind "v", "version", "==", a name with "/" or "-", or with only
//        parts below 32.
// phone  international numbers ("+", a country code, 8 to 15 digits); in text also Chinese mobile (11 digits
//        from 13 to 19) and landline numbers (0nn-nnnnnnnn), and North American ones in their usual groups
//        of 3, 3 and 4, but for those kept free for fiction (555-01nn). In code international numbers need
//        separators or "tel:". Not: bare numbers behind "=" or a JSON key.
// key    what services hand out with a mark of their own (AWS, GitHub, GitLab, Slack, Google, OpenAI, Stripe,
//        Hugging Face, npm, PyPI, DigitalOcean), JSON web tokens, private key blocks, passwords within URLs,
//        and values of 16 characters and more that look random (letters and digits, 3.5 bits per character)
//        and are assigned to names such as secret, token, password or api_key. Not: AWS's own examples.
//
// Hashes and checksums are none of these: they are not assigned to such names.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokens.hpp"

namespace castline::text {

enum class PrivateKind : std::uint8_t { email, ip, phone, key };
constexpr std::size_t kPrivateKinds = 4;

/// "email", "ip", "phone", "key": by kind.
std::string_view private_kind_name(PrivateKind kind);

struct PrivateSpan {
  std::size_t begin;  // bytes
  std::size_t end;
  PrivateKind kind;
  bool operator==(const PrivateSpan&) const = default;
};

/// Which kinds to look for, as bits: 1 << kind.
using PrivateKinds = std::uint8_t;

/// What is found in `text` (any bytes), from left to right, without overlap.
std::vector<PrivateSpan> find_private(std::string_view text, TextKind kind, PrivateKinds kinds);

/// `text` with every span replaced by <EMAIL>, <IP_ADDRESS>, <PHONE> or <KEY>.
std::string mask_private(std::string_view text, const std::vector<PrivateSpan>& spans);

}  // namespace castline::text
