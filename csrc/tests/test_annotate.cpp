// The scanners behind annotators on random and on hostile bytes: nothing is read beyond the end (the
// sanitizers watch), and what they find is in order.
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "check.hpp"
#include "text/contamination.hpp"
#include "text/domains.hpp"
#include "text/private_data.hpp"
#include "text/terms.hpp"
#include "text/token_line.hpp"

using namespace castline::text;

namespace {

using Random = std::mt19937_64;

constexpr std::string_view kPieces[] = {
    "a",
    "Z9",
    "_",
    "-",
    ".",
    "@",
    "+",
    " ",
    "\n",
    "\"",
    "'",
    ":",
    "=",
    "://",
    "/",
    "(",
    ")",
    "1",
    "13",
    "255",
    "2001:",
    "::",
    "eyJ",
    ".eyJ",
    "AKIA",
    "ghp_",
    "sk-",
    "xoxb-",
    "token",
    "password=",
    "Bearer ",
    "-----BEGIN ",
    "-----",
    "-----END ",
    "PRIVATE KEY",
    "-----BEGIN PRIVATE KEY-----",
    "com",
    ".com",
    "@corp.com",
    "tel:",
    "+86 ",
    "138-0013-",
    "\xE4\xBD\xA0",
    "\xF0\x9F",
    "\xC2",
    "\xEF\xBC\xA1",
    "\xC2\xAD",
    "aZ3kP9xQ2mB7vL5nR8tY1wE4",
};

std::string random_text(Random& random, std::size_t pieces) {
  std::string text;
  for (std::size_t i = 0; i < pieces; ++i) text += kPieces[random() % std::size(kPieces)];
  return text;
}

// The bytes in memory that end where they end.
std::vector<char> exact(std::string_view text) { return {text.begin(), text.end()}; }

void check_private(std::string_view text, TextKind kind) {
  const std::vector<char> bytes = exact(text);
  const std::string_view whole(bytes.data(), bytes.size());
  const std::vector<PrivateSpan> spans = find_private(whole, kind, 15);
  std::size_t at = 0;
  bool in_order = true;
  for (const PrivateSpan& span : spans) {
    in_order = in_order && span.begin >= at && span.begin < span.end && span.end <= text.size();
    at = span.end;
  }
  CHECK(in_order);
  if (in_order) CHECK(spans.empty() == (mask_private(whole, spans) == text));
}

void test_private_data() {
  Random random(11);
  for (int round = 0; round < 20000; ++round) {
    const std::string text = random_text(random, random() % 40);
    check_private(text, round % 2 == 0 ? TextKind::text : TextKind::code);
  }
}

void test_terms() {
  Random random(12);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> listed;
    while (listed.size() < 8) {
      // "x": a term of invisible characters alone is refused
      listed.push_back(random_text(random, 1 + random() % 3) + (random() % 2 == 0 ? "x" : "\xE6\xB1\x89"));
    }
    const std::vector<std::string_view> views(listed.begin(), listed.end());
    const TermMatcher matcher({views.data(), 6}, {views.data() + 6, 2});
    for (int text = 0; text < 20; ++text) {
      std::string around = random_text(random, random() % 20);
      if (text % 2 == 0) around += listed[random() % listed.size()];
      const std::vector<char> bytes = exact(around + random_text(random, random() % 20));
      bool known = true;
      for (const std::uint32_t term : matcher({bytes.data(), bytes.size()})) known = known && term < 6;
      CHECK(known);
    }
  }
}

void test_domains() {
  Random random(15);
  for (int round = 0; round < 3000; ++round) {
    const std::vector<char> bytes = exact(random_text(random, random() % 10));
    const std::string_view list(bytes.data(), bytes.size());
    try {
      const DomainSet domains({&list, 1});
      CHECK(domains.size() <= bytes.size() / 2 + 1);
      CHECK(!domains.holds("not.there"));
    } catch (const castline::Error& error) {
      CHECK(error.kind() == castline::ErrorKind::usage);
    }
  }
}

void test_contamination() {
  Random random(13);
  Shingler shingler;
  for (int round = 0; round < 500; ++round) {
    std::vector<std::string> texts;
    for (int i = 0; i < 5; ++i) texts.push_back(random_text(random, random() % 40));
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    const std::vector<std::int64_t> records{0, 1, 1, 2, 3};
    const ContaminationIndex index(views, records, 1 + random() % 6, 1);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::vector<char> bytes = exact(random_text(random, 5) + " " + texts[i]);
      const auto overlap = index({bytes.data(), bytes.size()}, shingler);
      CHECK((overlap.ngrams > 0) == (overlap.record >= 0) && overlap.record < 4);
      if (overlap.record >= 0) {
        CHECK(overlap.shared <= index.record_ngrams()[static_cast<std::size_t>(overlap.record)]);
      }
    }
  }
}

void test_token_lines() {
  Random random(14);
  for (int round = 0; round < 3000; ++round) {
    const std::vector<char> bytes = exact(random_text(random, random() % 40));
    const std::string line = token_line({bytes.data(), bytes.size()}, random() % 20);
    CHECK(line.find_first_of(std::string_view("\n\r\0", 3)) == std::string::npos);
  }
}

// Every piece, and every pair of two, over and over.
void test_hostile_repetition() {
  constexpr std::size_t kSize = 4 * 1024;
  for (const std::string_view first : kPieces) {
    for (const std::string_view second : kPieces) {
      const std::string unit = std::string(first) + std::string(second);
      std::string text;
      while (text.size() < kSize) text += unit;
      check_private(text, TextKind::text);
    }
  }
}

}  // namespace

int main() {
  test_private_data();
  test_terms();
  test_domains();
  test_contamination();
  test_token_lines();
  test_hostile_repetition();
  return castline::test::finish();
}
