#include "text/domains.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "base/error.hpp"
#include "text/hash.hpp"

namespace castline::text {
namespace {

constexpr std::string_view kSpace = " \t\r\v\f";
constexpr std::array<std::string_view, 4> kOwnAddresses{"0.0.0.0", "127.0.0.1", "::", "::1"};

// Takes the next field from the front of `line`; empty at its end.
std::string_view next_field(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(kSpace), line.size()));
  const std::string_view field = line.substr(0, line.find_first_of(kSpace));
  line.remove_prefix(field.size());
  return field;
}

// The domain of a line, in lower case in `storage`; empty where there is none.
std::string_view domain_of(std::string_view line, std::string& storage) {
  std::string_view rest = line.substr(0, line.find('#'));
  std::string_view field = next_field(rest);
  if (field.empty()) return {};
  if (std::find(kOwnAddresses.begin(), kOwnAddresses.end(), field) != kOwnAddresses.end()) {
    const std::string_view behind = next_field(rest);
    if (!behind.empty()) field = behind;
  }
  storage.assign(field);
  for (char& c : storage) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  std::string_view domain = storage;
  domain.remove_prefix(std::min(domain.find_first_not_of('.'), domain.size()));
  domain = domain.substr(0, domain.find_last_not_of('.') + 1);
  if (domain.starts_with("www.")) domain.remove_prefix(4);
  if (domain.empty() || !next_field(rest).empty() || domain.find_first_of("/:@?|*") != domain.npos) {
    throw_usage("[domains] expected a domain such as example.org, but got '" +
                std::string(line.substr(0, 200)) + "'");
  }
  return domain;
}

}  // namespace

DomainSet::DomainSet(std::span<const std::string_view> lists) {
  std::string storage;
  for (std::string_view list : lists) {
    while (!list.empty()) {
      const std::string_view line = list.substr(0, list.find('\n'));
      list.remove_prefix(std::min(line.size() + 1, list.size()));
      const std::string_view domain = domain_of(line, storage);
      if (!domain.empty()) hashes_.push_back(hash_bytes(domain));
    }
  }
  std::sort(hashes_.begin(), hashes_.end());
  hashes_.erase(std::unique(hashes_.begin(), hashes_.end()), hashes_.end());
  hashes_.shrink_to_fit();
}

bool DomainSet::holds(std::string_view host) const {
  for (;;) {
    if (std::binary_search(hashes_.begin(), hashes_.end(), hash_bytes(host))) return true;
    const std::size_t dot = host.find('.');
    if (dot == host.npos) return false;
    host.remove_prefix(dot + 1);
  }
}

}  // namespace castline::text
