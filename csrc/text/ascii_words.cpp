#include "text/ascii_words.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "text/hash.hpp"

namespace castline::text {

void classify_ascii_scalar(const char* text, std::size_t blocks, char* lower, AsciiMasks* masks) {
  for (std::size_t block = 0; block < blocks; ++block, text += kAsciiBlock, lower += kAsciiBlock) {
    AsciiMasks found;
    for (std::size_t i = 0; i < kAsciiBlock; ++i) {
      const char c = text[i];
      const char low = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
      const bool digit = c >= '0' && c <= '9';
      lower[i] = low;
      found.word |= std::uint64_t{(low >= 'a' && low <= 'z') || digit || c == '_'} << i;
      found.digit |= std::uint64_t{digit} << i;
      found.joiner |= std::uint64_t{c == '.' || c == '\''} << i;
      found.comma |= std::uint64_t{c == ','} << i;
    }
    masks[block] = found;
  }
}

std::size_t ascii_prefix(std::string_view text) {
  std::size_t at = 0;
  while (text.size() - at >= 8 && (load<std::uint64_t>(text.data() + at) & 0x8080808080808080u) == 0) at += 8;
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

void AsciiWords::classify(std::string_view ascii) {
  const std::size_t whole = ascii.size() / kAsciiBlock;
  // One more block: for the rest of the text, and so that 16 bytes can be read behind every word.
  if (masks_.size() < whole + 2) {
    masks_.resize(whole + 2);
    lower_.resize((whole + 2) * kAsciiBlock);
    edges_.resize((whole + 2) * kAsciiBlock);
  }
  const auto run = [this](const char* text, std::size_t blocks, std::size_t at) {
    char* lower = lower_.data() + at * kAsciiBlock;
#if defined(__x86_64__)
    if (level_ >= kernels::CpuLevel::avx2) {
      classify_ascii_avx2(text, blocks, lower, masks_.data() + at);
      return;
    }
#endif
    classify_ascii_scalar(text, blocks, lower, masks_.data() + at);
  };
  run(ascii.data(), whole, 0);
  std::array<char, kAsciiBlock> rest{};
  std::copy(ascii.begin() + static_cast<std::ptrdiff_t>(whole * kAsciiBlock), ascii.end(), rest.begin());
  run(rest.data(), 1, whole);
}

// Joins words over . ' and , as tokens.hpp says, then writes down where runs of word bytes begin and end.
std::size_t AsciiWords::find_edges(std::size_t blocks) {
  std::uint32_t* out = edges_.data();
  std::uint64_t word_before = 0;  // 1 if the last byte of the block before is a word byte, and so on
  std::uint64_t digit_before = 0;
  std::uint64_t run_before = 0;
  for (std::size_t block = 0; block < blocks; ++block) {
    const AsciiMasks& m = masks_[block];
    const bool last = block + 1 == blocks;
    const std::uint64_t word_after = last ? 0 : masks_[block + 1].word << 63;
    const std::uint64_t digit_after = last ? 0 : masks_[block + 1].digit << 63;
    const std::uint64_t run = m.word | (m.joiner & (m.word << 1 | word_before) & (m.word >> 1 | word_after)) |
                              (m.comma & (m.digit << 1 | digit_before) & (m.digit >> 1 | digit_after));
    for (std::uint64_t edges = run ^ (run << 1 | run_before); edges != 0; edges &= edges - 1) {
      *out++ = static_cast<std::uint32_t>(block * kAsciiBlock) +
               static_cast<std::uint32_t>(std::countr_zero(edges));
    }
    word_before = m.word >> 63;
    digit_before = m.digit >> 63;
    run_before = run >> 63;
  }
  return static_cast<std::size_t>(out - edges_.data());
}

void AsciiWords::hash(std::string_view ascii, std::vector<std::uint64_t>& hashes) {
  classify(ascii);
  // The last block is never full, so every word ends before it does.
  const std::size_t edges = find_edges(ascii.size() / kAsciiBlock + 1);
  std::size_t count = hashes.size();
  hashes.resize(count + edges / 2);
  for (std::size_t i = 0; i < edges; i += 2) {
    const char* word = lower_.data() + edges_[i];
    const std::size_t size = edges_[i + 1] - edges_[i];
    hashes[count] = hash_padded(word, size);
    // A run without a letter or digit is a symbol.
    count += *word != '_' ||
             std::any_of(word, word + size, [](char c) { return c != '_' && c != '.' && c != '\''; });
  }
  hashes.resize(count);
}

}  // namespace castline::text
