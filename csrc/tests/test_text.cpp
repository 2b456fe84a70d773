// The text core: tokens, measurements, signatures and duplicates on known cases, and on random bytes, which
// must neither be read beyond their end nor break an invariant (the sanitizers watch).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/parallel.hpp"
#include "check.hpp"
#include "text/ascii_words.hpp"
#include "text/characters.hpp"
#include "text/hash.hpp"
#include "text/measure.hpp"
#include "text/minhash.hpp"
#include "text/minhash_kernels.hpp"
#include "text/phrases.hpp"
#include "text/repetition.hpp"
#include "text/shingles.hpp"
#include "text/tokens.hpp"
#include "text/union_find.hpp"

using namespace castline::text;
using castline::ThreadPool;
using castline::kernels::CpuLevel;

namespace {

using Random = std::mt19937_64;

std::size_t below(Random& random, std::size_t limit) { return static_cast<std::size_t>(random() % limit); }

/// Random bytes, leaning towards what a scanner stumbles over.
std::string random_bytes(Random& random, std::size_t size) {
  static constexpr std::string_view kPieces[] = {"\xE4\xBD\xA0",
                                                 "\xE4\xBD",
                                                 "\xF0\x9F\x98\x80",
                                                 "\xF0\x9F",
                                                 "\xCC\x81",
                                                 "\xE2\x80\xA6",
                                                 "...",
                                                 ".",
                                                 "\n",
                                                 "\n\n",
                                                 " ",
                                                 "ab",
                                                 "3,1",
                                                 "_",
                                                 "'",
                                                 "#",
                                                 "use ",
                                                 "java",
                                                 "\xFF",
                                                 "\x00",
                                                 "\xED\xA0\x80",
                                                 "\xEF\xBF",
                                                 "T",
                                                 "\xC3\x89",
                                                 "the",
                                                 "-",
                                                 "\xE3\x80\x82"};
  std::string bytes;
  while (bytes.size() < size) {
    if (below(random, 8) == 0) {
      bytes += static_cast<char>(random());
    } else {
      bytes += kPieces[below(random, std::size(kPieces))];
    }
  }
  bytes.resize(size);
  return bytes;
}

/// A copy in a heap block of exactly its size, so that a read beyond the end is seen.
struct Exact {
  explicit Exact(std::string_view s) : data(std::make_unique<char[]>(s.size())), view(data.get(), s.size()) {
    std::copy(s.begin(), s.end(), data.get());
  }
  std::unique_ptr<char[]> data;
  std::string_view view;
};

template <TextKind kKind>
std::vector<Token> tokens_of(std::string_view text) {
  std::vector<Token> tokens;
  TokenScanner<kKind> scanner(text);
  for (Token t; scanner.next(t, [](char32_t) {});) tokens.push_back(t);
  return tokens;
}

void test_unicode() {
  const CharClass* classes = char_classes();
  CHECK(classes['\n'] == CharClass::newline && classes[' '] == CharClass::space);
  CHECK(classes[0x85] == CharClass::space && classes[0x3000] == CharClass::space);
  CHECK(classes['a'] == CharClass::letter && classes['A'] == CharClass::upper);
  CHECK(classes[0x4E2D] == CharClass::han && classes[0x3005] == CharClass::han);
  CHECK(classes['.'] == CharClass::terminal && classes[0x3002] == CharClass::terminal);
  CHECK(classes[0xD800] == CharClass::abnormal && classes[0x10FFFF] == CharClass::abnormal);
  CHECK(lower_case('Q') == 'q' && lower_case(0x0416) == 0x0436 && lower_case(0x00DF) == 0x00DF);
  CHECK(lower_case(0x0130) == 0x0130);  // its lower case is two characters

  std::string storage;
  CHECK(valid_utf8("plain \xE4\xBD\xA0", storage).invalid_bytes == 0);
  const ValidText bad = valid_utf8("\xF0\x9F\x98 \xFF\xEF\xBF\xBD", storage);
  CHECK(bad.text == "\xEF\xBF\xBD \xEF\xBF\xBD\xEF\xBF\xBD");
  CHECK(bad.invalid_bytes == 4);
}

void test_characters() {
  std::vector<std::int64_t> counts(kCodePoints);
  const std::span<std::int64_t, kCodePoints> all(counts);
  count_characters("eight ASCII bytes and more, then \xE4\xBD\xA0\xE4\xBD\xA0 a \xF0\x9F\x98\x80", all);
  count_characters("\xE4\xBD\xA0 \xFF", all);  // what is not UTF-8 is U+FFFD
  count_characters("", all);
  CHECK(counts[0x4F60] == 3 && counts[0x1F600] == 1 && counts[0xFFFD] == 1);
  std::int64_t total = 0;
  for (const std::int64_t count : counts) total += count;
  CHECK(total == 5);
}

void test_phrases() {
  CHECK(phrase_at("JavaScript!") == Phrase::javascript);
  CHECK(phrase_at("use of Cookies") == Phrase::policy);
  CHECK(phrase_at("use of cookie") == Phrase::none);
  CHECK(phrase_at("") == Phrase::none && phrase_at("Lorem Ipsum") == Phrase::lorem_ipsum);
  CHECK(english_stop_word("that") != 0 && english_stop_word("That") == 0 && english_stop_word("t") == 0);
  CHECK(chinese_stop_word("\xE8\xBF\x99") == chinese_stop_word("\xE9\x80\x99"));
  CHECK(says_autogenerated("x\n# Do Not Edit") &&
        !says_autogenerated(std::string(5000, 'x') + "do not edit"));
}

void test_repetition() {
  // Words a b c a b c a: of length 1, with spaces between. The 2-grams "a b" and "b c" come twice, "a b"
  // first.
  std::vector<Piece> words;
  for (const std::uint64_t w : {1, 2, 3, 1, 2, 3, 1}) words.push_back({w, 1, false});
  RepetitionCounter counter;
  NGramRepetition found = counter.n_grams(words);
  CHECK((found.top == std::array<std::uint64_t, 3>{2 * 3, 2 * 5, 2 * 7}));
  CHECK(found.duplicate == (std::array<std::uint64_t, 6>{}));
  words.insert(words.end(), words.begin(), words.end());
  found = counter.n_grams(words);
  CHECK(found.duplicate[0] == 5);  // a b c a b at 7; what is left, c a, is too short
  CHECK(counter.n_grams({}).top[0] == 0);
  CHECK(counter.duplicates({{5, 10, false}, {6, 10, false}, {5, 10, false}, {5, 10, false}}).characters ==
        20);
}

void test_hashes() {
  Random random(3);
  const std::string bytes = random_bytes(random, 100);
  for (std::size_t size = 0; size <= 40; ++size) {
    const Exact exact(std::string_view(bytes).substr(0, size));
    CHECK(hash_bytes(exact.view) == hash_padded(bytes.data(), size));
    CHECK(hash_bytes(exact.view) != hash_bytes(std::string_view(bytes).substr(0, size + 1)));
    CHECK(hash_bytes(exact.view) != hash_bytes(exact.view, 1));
  }
  CHECK(hash_bytes(std::string_view("a\0", 2)) != hash_bytes("a"));
}

// The words found by masks are those found character by character.
void test_ascii_words() {
  Random random(4);
  static constexpr std::string_view kCharacters = "aBz09_.',,.  -\n~@[`{/:\x7f";
  AsciiWords scalar(CpuLevel::scalar);
  AsciiWords best(castline::kernels::detected_cpu_level());
  for (int round = 0; round < 2000; ++round) {
    std::string text(below(random, 300), ' ');
    for (char& c : text) {
      c = below(random, 20) == 0 ? static_cast<char>(below(random, 128))
                                 : kCharacters[below(random, kCharacters.size())];
    }
    std::vector<std::uint64_t> expected;
    for (const Token& token : tokens_of<TextKind::text>(text)) {
      std::string lower(token.bytes());
      for (char& c : lower) c = static_cast<char>(lower_case(static_cast<unsigned char>(c)));
      if (token.kind == TokenKind::word) expected.push_back(hash_bytes(lower));
    }
    const Exact exact(text);
    std::vector<std::uint64_t> found;
    scalar.hash(exact.view, found);
    CHECK(found == expected);
    found.assign(1, 7);
    best.hash(exact.view, found);
    expected.insert(expected.begin(), 7);
    CHECK(found == expected);
    CHECK(ascii_prefix(exact.view) == text.size() && ascii_prefix(text + "\x80x") == text.size());
  }
}

void test_kernels() {
  Random random(1);
  for (const std::size_t count : {0, 1, 2, 7, 2047, 2048, 2049, 5000}) {
    std::vector<std::uint64_t> shingles(count);
    for (std::uint64_t& s : shingles) s = random();
    for (const std::size_t permutations : {1, 31, 32, 128, 200}) {
      std::vector<std::uint32_t> scalar(permutations);
      std::vector<std::uint32_t> best(permutations);
      MinHasher(permutations, CpuLevel::scalar)(shingles, scalar);
      MinHasher(permutations, castline::kernels::detected_cpu_level())(shingles, best);
      CHECK(scalar == best);
      CHECK(count != 0 || scalar[0] == kNoShingle);
    }
  }
  // A permutation, by hand, against every shingle on its own: the minimum over a set is that over its
  // members.
  const std::vector<std::uint64_t> set{3, 1u << 31, 0xFFFFFFFF00000005u};
  std::vector<std::uint32_t> all(64);
  MinHasher(64)(set, all);
  std::vector<std::uint32_t> least(64, kNoShingle);
  for (const std::uint64_t s : set) {
    std::vector<std::uint32_t> one(64);
    MinHasher(64)(std::span(&s, 1), one);
    for (std::size_t i = 0; i < 64; ++i) least[i] = std::min(least[i], one[i]);
  }
  CHECK(all == least);
  CHECK(std::set<std::uint32_t>(all.begin(), all.end()).size() > 60);
}

void test_bands() {
  const Banding banding = choose_bands(0.7, 128, 0.98);
  CHECK(banding.bands == 25 && banding.rows == 5);
  CHECK(std::abs(banding.recall(0.7) - (1 - std::pow(1 - std::pow(0.7, 5), 25))) < 1e-12);
  CHECK_THROWS(choose_bands(0.0, 128, 0.9), "threshold");
  CHECK_THROWS(choose_bands(0.7, 0, 0.9), "permutations");
  CHECK_THROWS(choose_bands(0.7, 128, 1.0), "recall");
  CHECK_THROWS(MinHasher(5000), "4096");
}

void test_union_find() {
  UnionFind sets(5);
  CHECK(sets.join(4, 3) && sets.join(3, 1) && !sets.join(1, 4));
  CHECK(sets.find(4) == 1 && sets.find(0) == 0 && sets.find(2) == 2);
}

// Whatever the bytes: tokens lie in order inside the text, cover all but white space, and count every
// character once.
template <TextKind kKind>
void check_tokens(std::string_view text) {
  const char* at = text.data();
  const auto only_white = [](const char* p, const char* end) {
    while (p != end) {
      if (char_classes()[castline::utf8::next(p)] > CharClass::space) return false;
    }
    return true;
  };
  bool ordered = true;
  std::uint64_t characters = 0;
  for (const Token& t : tokens_of<kKind>(text)) {
    ordered = ordered && t.begin >= at && t.end > t.begin && only_white(at, t.begin);
    characters += t.characters;
    at = t.end;
  }
  CHECK(ordered && only_white(at, text.data() + text.size()));
  std::uint64_t solid = 0;
  for (const char* p = text.data(); p != text.data() + text.size();) {
    solid += char_classes()[castline::utf8::next(p)] > CharClass::space;
  }
  CHECK(characters == solid);
}

void test_random_bytes() {
  Random random(2);
  Measurer measurer;
  std::vector<Exact> texts;
  for (int round = 0; round < 3000; ++round) {
    texts.emplace_back(random_bytes(random, below(random, 200)));
    const std::string_view text = texts.back().view;
    const Measurements m = measurer(text);
    bool in_range = true;
    for (const MeasurementField& field : measurement_fields()) {
      if (const auto* share = std::get_if<double Measurements::*>(&field.member)) {
        const double value = m.**share;
        in_range = in_range && std::isfinite(value) && value >= 0;
        if (field.name.ends_with("_fraction") && !field.name.starts_with("top_"))
          in_range = in_range && value <= 1;
      } else {
        in_range = in_range && m.*std::get<std::int64_t Measurements::*>(field.member) >= 0;
      }
    }
    CHECK(in_range);
    CHECK(m.words <= m.tokens && m.paragraphs <= m.lines && m.c4_sentences <= m.sentences);
    std::string storage;
    const Exact valid(valid_utf8(text, storage).text);
    check_tokens<TextKind::text>(valid.view);
    check_tokens<TextKind::code>(valid.view);
    CHECK(content_hash(text) == content_hash(valid.view));
    CHECK(measure(text).tokens == m.tokens);
  }
}

}  // namespace

int main() {
  test_unicode();
  test_characters();
  test_phrases();
  test_repetition();
  test_hashes();
  test_ascii_words();
  test_kernels();
  test_bands();
  test_union_find();
  test_random_bytes();
  return castline::test::finish();
}
