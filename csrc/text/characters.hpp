// How often every character occurs, for vocabularies that are to know the frequent ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace castline::text {

constexpr std::size_t kCodePoints = 0x110000;

/// Adds to `counts` how often each code point beyond ASCII occurs in `bytes`; what is not UTF-8 counts as
/// U+FFFD, as in `valid_utf8`.
void count_characters(std::string_view bytes, std::span<std::int64_t, kCodePoints> counts);

}  // namespace castline::text
