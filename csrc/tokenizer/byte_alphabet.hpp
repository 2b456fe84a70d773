// The byte-level alphabet: GPT-2's way to write any byte string in printable characters.
//
// Printable ASCII and Latin-1 stand for themselves; the 68 other bytes, in order, are U+0100 onwards
// (so a space is written Ġ, U+0120).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace castline::tokenizer {

/// The bytes that `written` (well-formed UTF-8) stands for; nothing if a character is not of the alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view written);

}  // namespace castline::tokenizer
