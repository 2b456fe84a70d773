// A text as classifiers of words want it: its tokens in lower case, with spaces between them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace castline::text {

/// The first `limit` tokens of `bytes` (tokens.hpp).
std::string token_line(std::string_view bytes, std::size_t limit);

}  // namespace castline::text
