// Lists of domains of any length (block lists go to millions), eight bytes for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace castline::text {

/// Domains as 64-bit hashes: with ten million listed, one other domain in about 10^12 is taken for one of
/// them.
class DomainSet {
 public:
  /// Each list is ASCII, a domain per line in any case, with or without "www." and an ending dot; "#" begins
  /// a comment, and an address of this machine may stand before the domain, as in a hosts file. Throws a
  /// usage error that shows the first line that is not like this.
  explicit DomainSet(std::span<const std::string_view> lists);

  /// Whether `host`, in lower case and without "www.", or a domain that it is in is listed.
  bool holds(std::string_view host) const;

  std::size_t size() const { return hashes_.size(); }

 private:
  std::vector<std::uint64_t> hashes_;  // sorted, without repeats
};

}  // namespace castline::text
