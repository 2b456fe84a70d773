// Python's methods of str that templates use, on well-formed UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace castline::chat {

std::u32string decode(std::string_view text);
std::string encode(std::u32string_view text);

/// str.isspace() of one character.
bool is_space(char32_t code);

enum class Side { both, left, right };
/// Without the characters of `chars`, or without white space where that is null, at its ends.
std::string strip(std::string_view text, const std::string* chars, Side side = Side::both);

/// Between white space. `most` splits at most, all where it is negative; from the right where `reverse`.
std::vector<std::string> split_words(std::string_view text, std::int64_t most, bool reverse);
/// Between occurrences of `separator`, which is not empty.
std::vector<std::string> split_at(std::string_view text, std::string_view separator, std::int64_t most,
                                  bool reverse);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);

/// Replaces the first `most` occurrences, all where it is negative.
std::string replace(std::string_view text, std::string_view from, std::string_view to, std::int64_t most);

/// Simple case mappings: one character for one.
std::string lower(std::string_view text);
std::string upper(std::string_view text);
/// The first character in upper case, all others in lower.
std::string capitalize(std::string_view text);
/// The first letter of every word in upper case, all others in lower; Jinja's words, or Python's.
std::string title(std::string_view text, bool jinja);

}  // namespace castline::chat
