// The finders behind find_private: each looks at one place of a text that may be part of something private.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "text/private_data.hpp"

namespace castline::text {

/// Found, or nothing. `at` is the place of the byte that the kind cannot do without; nothing before `floor`
/// is taken.
using Found = std::optional<PrivateSpan>;

Found find_email(std::string_view text, std::size_t at, std::size_t floor);            ///< at "@"
Found find_ip(std::string_view text, std::size_t at);                                  ///< at the first digit
Found find_international_phone(std::string_view text, std::size_t at, TextKind kind);  ///< at "+"
Found find_phone(std::string_view text, std::size_t at);  ///< at the first digit, or "(" before it
Found find_key(std::string_view text, std::size_t at,
               std::size_t floor);  ///< at "A", "J", "_", "-", "=", ":" or "@"

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
inline bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
inline bool is_alpha(char c) { return is_upper(c) || is_lower(c); }
inline bool is_alnum(char c) { return is_alpha(c) || is_digit(c); }
inline bool is_name(char c) { return is_alnum(c) || c == '_'; }
inline bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
inline char to_lower(char c) { return is_upper(c) ? static_cast<char>(c + ('a' - 'A')) : c; }

/// The byte at `at`, or a space outside of the text.
inline char byte_at(std::string_view text, std::size_t at) { return at < text.size() ? text[at] : ' '; }
inline char byte_before(std::string_view text, std::size_t at) { return at > 0 ? text[at - 1] : ' '; }

}  // namespace castline::text
