#include "text/shingles.hpp"

#include <algorithm>

#include "base/utf8.hpp"
#include "text/hash.hpp"

namespace castline::text {
namespace {

// Shingles are polynomials in word hashes, modulo 2^64; the base is an arbitrary odd number.
constexpr std::uint64_t kBase = 0x9E3779B97F4A7C15u;
constexpr std::uint64_t kTextSeed = 0x7465787431u;
constexpr std::uint64_t kCodeSeed = 0x636F646531u;

}  // namespace

std::uint64_t Shingler::word_hash(const Token& token) {
  if (!token.has_upper) return hash_bytes(token.bytes());
  lower_.clear();
  for (const char* p = token.begin; p != token.end;) utf8::append(lower_case(utf8::next(p)), lower_);
  return hash_bytes(lower_);
}

template <TextKind kKind>
void Shingler::collect(std::string_view text) {
  TokenScanner<kKind> scanner(text);
  for (Token token; scanner.next(token, [](CharClass) {});) {
    if constexpr (kKind == TextKind::text) {
      if (token.kind != TokenKind::symbol) words_.push_back(word_hash(token));
    } else {
      words_.push_back(hash_bytes(token.bytes()));
    }
  }
}

const std::vector<std::uint64_t>& Shingler::operator()(std::string_view text, TextKind kind) {
  words_.clear();
  shingles_.clear();
  const std::string_view valid = valid_utf8(text, storage_).text;
  if (kind == TextKind::text) {
    collect<TextKind::text>(valid);
  } else {
    collect<TextKind::code>(valid);
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

void make_set(std::vector<std::uint64_t>& shingles) {
  std::sort(shingles.begin(), shingles.end());
  shingles.erase(std::unique(shingles.begin(), shingles.end()), shingles.end());
}

ContentHash content_hash(std::string_view text) {
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
