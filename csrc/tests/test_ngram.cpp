// The trigram model and the gain of a context against their formulas, computed plainly in higher precision
// from the texts themselves: no table, no key, every count made anew.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <span>
#include <vector>

#include "check.hpp"
#include "text/ngram_model.hpp"

using namespace castline::text;

namespace {

using Tokens = std::vector<std::uint32_t>;
using Span = std::span<const std::uint32_t>;

/// What has been read, text by text, and the formula of NgramModel::probability on it.
struct Reference {
  std::uint32_t vocab_size;
  std::vector<Tokens> texts;

  /// Every token that was read after `history`, in any text, as often as it was.
  Tokens after(Span history) const {
    Tokens found;
    for (const Tokens& text : texts) {
      for (std::size_t i = history.size(); i < text.size(); ++i) {
        if (std::equal(history.begin(), history.end(),
                       text.begin() + static_cast<std::ptrdiff_t>(i - history.size())))
          found.push_back(text[i]);
      }
    }
    return found;
  }

  long double probability(Span context, std::uint32_t token) const {
    long double p = 1.0L / vocab_size;
    for (std::size_t size = 0; size <= std::min<std::size_t>(2, context.size()); ++size) {
      const Tokens next = after(context.last(size));
      if (next.empty()) continue;  // c(h) + t(h) is 0: nothing was seen, nothing changes
      const auto count = static_cast<long double>(std::ranges::count(next, token));
      const auto kinds = static_cast<long double>(std::set<std::uint32_t>(next.begin(), next.end()).size());
      p = (count + kinds * p) / (static_cast<long double>(next.size()) + kinds);
    }
    return p;
  }
};

/// The formula of context_gain.
long double gain(const Reference& background, const Tokens& previous, const Tokens& following) {
  long double nats = 0.0L;
  const Span all(following);
  for (std::size_t i = 2; i < following.size(); ++i) {
    const Tokens before(following.begin(), following.begin() + static_cast<std::ptrdiff_t>(i));
    const Reference with{background.vocab_size, {previous, before}};
    const Reference without{background.vocab_size, {before}};
    const long double known = 0.9L * background.probability(all.first(i), following[i]);
    nats += std::log((known + 0.1L * with.probability(all.first(i), following[i])) /
                     (known + 0.1L * without.probability(all.first(i), following[i])));
  }
  return following.size() < 3 ? 0.0L : nats / static_cast<long double>(following.size() - 2);
}

bool near(double value, long double expected, long double tolerance) {
  return std::abs(static_cast<long double>(value) - expected) <=
         tolerance * std::max(1.0L, std::abs(expected));
}

Tokens random_tokens(std::mt19937_64& random, std::size_t size, std::uint32_t vocab_size) {
  Tokens tokens(size);
  for (std::uint32_t& token : tokens) {
    // small ids are frequent, so that contexts come back
    token = static_cast<std::uint32_t>(random() % (1 + random() % vocab_size));
  }
  return tokens;
}

void test_probability() {
  std::mt19937_64 random(1);
  for (const std::uint32_t vocab_size : {1u, 7u, 400u, NgramModel::kMostTokens}) {
    NgramModel model(vocab_size);
    Reference reference{vocab_size, {}};
    for (int round = 0; round < 12; ++round) {
      const Tokens context = random_tokens(random, random() % 4, std::min(vocab_size, 9u));
      for (int i = 0; i < 20; ++i) {
        const auto token = static_cast<std::uint32_t>(random() % vocab_size);
        CHECK(near(model.probability(context, token), reference.probability(context, token), 1e-13L));
      }
      const Tokens text = random_tokens(random, random() % 150, std::min(vocab_size, 30u));
      model.add(text);
      reference.texts.push_back(text);
    }
  }
}

void test_probabilities_sum_to_one() {
  std::mt19937_64 random(2);
  const std::uint32_t vocab_size = 50;
  NgramModel model(vocab_size);
  model.add(random_tokens(random, 3000, vocab_size));  // many nodes: the table grows several times
  for (int round = 0; round < 50; ++round) {
    const Tokens context = random_tokens(random, random() % 4, vocab_size);
    double sum = 0.0;
    for (std::uint32_t token = 0; token < vocab_size; ++token) {
      const double p = model.probability(context, token);
      CHECK(p > 0.0);
      sum += p;
    }
    CHECK(std::abs(sum - 1.0) < 1e-12);
  }
}

void test_context_gain() {
  std::mt19937_64 random(3);
  const std::uint32_t vocab_size = 40;
  for (int round = 0; round < 30; ++round) {
    NgramModel model(vocab_size);
    Reference background{vocab_size, {random_tokens(random, 200, vocab_size)}};
    model.add(background.texts[0]);
    const Tokens previous = random_tokens(random, random() % 60, vocab_size);
    Tokens following = random_tokens(random, random() % 40, vocab_size);
    if (round % 3 == 0 && previous.size() > 9) following.assign(previous.begin(), previous.begin() + 9);
    const double found = context_gain(model, previous, following);
    CHECK(near(found, gain(background, previous, following), 1e-12L));
    if (previous.empty() || following.size() < 3) CHECK(found == 0.0);
  }
}

void test_what_is_refused() {
  CHECK_THROWS(NgramModel(0), "expected a vocabulary of 1 to 1048576 tokens, but got 0");
  CHECK_THROWS(NgramModel(NgramModel::kMostTokens + 1), "but got 1048577");
  NgramModel model(5);
  const Tokens wrong = {1, 5};
  CHECK_THROWS(model.add(wrong), "expected ids below 5, but got 5");
  CHECK_THROWS(context_gain(model, wrong, {}), "expected ids below 5");
  CHECK(model.probability({}, 1) == 0.2);
}

}  // namespace

int main() {
  test_probability();
  test_probabilities_sum_to_one();
  test_context_gain();
  test_what_is_refused();
  return castline::test::finish();
}
