#include "text/shingles.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <span>
#include <utility>

#include "base/utf8.hpp"

namespace castline::text {
namespace {

// Shingles are polynomials in word hashes, modulo 2^64; the base is an arbitrary odd number.
constexpr std::uint64_t kBase = 0x9E3779B97F4A7C15u;
constexpr std::uint64_t kTextSeed = 0x7465787431u;
constexpr std::uint64_t kCodeSeed = 0x636F646531u;

constexpr std::size_t kSmallSet = 64;  // sorted by comparisons
constexpr int kMostBucketBits = 16;    // so that the counts stay in the cache

bool is_space(char c) { return c == ' ' || c == '\n'; }

// Where the word at `at` ends, and those behind it that begin with another character than ASCII.
std::size_t mixed_end(std::string_view text, std::size_t at) {
  for (;;) {
    while (at < text.size() && !is_space(text[at])) ++at;
    if (at + 1 >= text.size() || static_cast<unsigned char>(text[at + 1]) < 0x80) return at;
    ++at;
  }
}

}  // namespace

std::uint64_t Shingler::word_hash(const Token& token) {
  if (!token.has_upper) return hash_bytes(token.bytes());
  lower_.clear();
  for (const char* p = token.begin; p != token.end;) utf8::append(lower_case(utf8::next(p)), lower_);
  return hash_bytes(lower_);
}

void Shingler::code_words(std::string_view text) {
  TokenScanner<TextKind::code> scanner(text);
  for (Token token; scanner.next(token, [](char32_t) {});) words_.push_back(hash_bytes(token.bytes()));
}

// No token crosses white space, so the text is divided there: into stretches of ASCII, which go fast, and
// those around other characters.
void Shingler::text_words(std::string_view text) {
  while (!text.empty()) {
    std::size_t ascii = ascii_prefix(text);
    std::size_t end = ascii;
    if (ascii < text.size()) {
      while (ascii > 0 && !is_space(text[ascii - 1])) --ascii;
      end = mixed_end(text, end);
    }
    if (ascii > 0) ascii_.hash(text.substr(0, ascii), words_);
    if (end > ascii) mixed_words(text.substr(ascii, end - ascii));
    text.remove_prefix(end);
  }
}

void Shingler::mixed_words(std::string_view text) {
  TokenScanner<TextKind::text> scanner(text);
  for (Token token; scanner.next(token, [](char32_t) {});) {
    if (token.kind != TokenKind::symbol) words_.push_back(word_hash(token));
  }
}

const std::vector<std::uint64_t>& Shingler::operator()(std::string_view text, TextKind kind) {
  words_.clear();
  shingles_.clear();
  const std::string_view valid = valid_utf8(text, storage_).text;
  if (kind == TextKind::text) {
    text_words(valid);
  } else {
    code_words(valid);
  }
  if (words_.empty()) return shingles_;
  const std::uint64_t seed = kind == TextKind::text ? kTextSeed : kCodeSeed;
  const std::size_t length = std::min(kShingleWords, words_.size());
  shingles_.reserve(words_.size() - length + 1);
  for (std::size_t i = 0; i + length <= words_.size(); ++i) {
    std::uint64_t polynomial = length;
    for (std::size_t k = 0; k < length; ++k) polynomial = polynomial * kBase + words_[i + k];
    shingles_.push_back(hash_pair(polynomial, seed));
  }
  return shingles_;
}

const std::vector<std::uint64_t>& Shingler::words(std::string_view text) {
  words_.clear();
  text_words(valid_utf8(text, storage_).text);
  return words_;
}

// Hashes are spread evenly: distributed by their highest bits they are all but sorted.
void make_set(std::vector<std::uint64_t>& shingles) {
  const std::size_t count = shingles.size();
  if (count <= kSmallSet) {
    std::sort(shingles.begin(), shingles.end());
  } else {
    const int shift = 64 - std::min<int>(static_cast<int>(std::bit_width(count)), kMostBucketBits);
    std::vector<std::uint32_t> ends((std::size_t{1} << (64 - shift)) + 1);
    for (const std::uint64_t s : shingles) ++ends[(s >> shift) + 1];
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    std::vector<std::uint64_t> sorted(count);
    for (const std::uint64_t s : shingles) sorted[ends[s >> shift]++] = s;
    std::size_t begin = 0;
    for (const std::size_t end : std::span(ends).first(ends.size() - 1)) {
      if (end - begin > 1) std::sort(sorted.begin() + begin, sorted.begin() + end);
      begin = end;
    }
    shingles = std::move(sorted);
  }
  shingles.erase(std::unique(shingles.begin(), shingles.end()), shingles.end());
}

Hash128 content_hash(std::string_view text) {
  std::string storage;
  const std::string_view valid = valid_utf8(text, storage).text;
  const CharClass* classes = char_classes();
  std::string normal;
  normal.reserve(valid.size());
  for (const char* p = valid.data(); p != valid.data() + valid.size();) {
    const char* begin = p;
    if (classes[utf8::next(p)] <= CharClass::space) {
      if (!normal.empty() && normal.back() != ' ') normal += ' ';
    } else {
      normal.append(begin, p);
    }
  }
  if (!normal.empty() && normal.back() == ' ') normal.pop_back();
  return {hash_bytes(normal, 1), hash_bytes(normal, 2)};
}

}  // namespace castline::text
