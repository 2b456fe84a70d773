// CRC-32 (ISO 3309, as zip uses it), for the one small file that no SHA-256 covers: the manifest itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace castline {

std::uint32_t crc32(std::span<const std::byte> bytes);

}  // namespace castline
