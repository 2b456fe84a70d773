#include "tokenizer/byte_alphabet.hpp"

#include <array>
#include <cstdint>

#include "base/utf8.hpp"

namespace castline::tokenizer {
namespace {

constexpr std::size_t kCharacters = 0x100 + 68;
constexpr std::int16_t kNoByte = -1;

constexpr std::array<std::int16_t, kCharacters> make_bytes() {
  std::array<std::int16_t, kCharacters> bytes{};
  std::size_t shifted = 0x100;
  for (std::int16_t b = 0; b < 0x100; ++b) {
    const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xFF && b != 0xAD);
    bytes[static_cast<std::size_t>(b)] = printable ? b : kNoByte;
    if (!printable) bytes[shifted++] = b;
  }
  return bytes;
}

constexpr auto kBytes = make_bytes();

}  // namespace

std::optional<std::string> from_byte_alphabet(std::string_view written) {
  std::string bytes;
  const char* p = written.data();
  const char* const end = p + written.size();
  while (p < end) {
    const char32_t code = utf8::next(p);
    if (code >= kCharacters || kBytes[code] == kNoByte) return std::nullopt;
    bytes += static_cast<char>(kBytes[code]);
  }
  return bytes;
}

}  // namespace castline::tokenizer
