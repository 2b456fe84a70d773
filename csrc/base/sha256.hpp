// SHA-256 (FIPS 180-4), for the hashes in a package manifest.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace castline {

/// The digest of `bytes` as 64 lower-case hexadecimal digits.
std::string sha256_hex(std::span<const std::byte> bytes);

}  // namespace castline
