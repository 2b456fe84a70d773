#include "text/token_line.hpp"

#include "base/utf8.hpp"
#include "text/tokens.hpp"
#include "text/unicode.hpp"

namespace castline::text {

std::string token_line(std::string_view bytes, std::size_t limit) {
  std::string storage;
  TokenScanner<TextKind::text> scanner(valid_utf8(bytes, storage).text);
  std::string line;
  std::size_t count = 0;
  for (Token token; count < limit && scanner.next(token, [](char32_t) {}); ++count) {
    if (count > 0) line += ' ';
    for (const char* p = token.begin; p != token.end;) utf8::append(lower_case(utf8::next(p)), line);
  }
  return line;
}

}  // namespace castline::text
