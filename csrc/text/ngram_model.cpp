#include "text/ngram_model.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.hpp"
#include "text/hash.hpp"

namespace castline::text {
namespace {

constexpr std::size_t kOrder = 3;
constexpr std::size_t kFirstNodes = 256;

/// The number of tokens (plus one, so that no key is 0) above the tokens themselves.
std::uint64_t key_of(std::span<const std::uint32_t> tokens) {
  std::uint64_t key = tokens.size() + 1;
  for (const std::uint32_t token : tokens) key = key << 20 | token;
  return key;
}

std::uint64_t extended(std::uint64_t key, std::size_t size, std::uint32_t token) {
  const std::uint64_t tokens = key & ((std::uint64_t{1} << 20 * size) - 1);
  return (std::uint64_t{size + 2} << 20 * size | tokens) << 20 | token;
}

std::span<const std::uint32_t> last(std::span<const std::uint32_t> context, std::size_t count) {
  return context.subspan(context.size() - count);
}

}  // namespace

NgramModel::NgramModel(std::uint32_t vocab_size) : vocab_size_(vocab_size), nodes_(kFirstNodes) {
  if (vocab_size == 0 || vocab_size > kMostTokens) {
    throw_usage("[ngram] expected a vocabulary of 1 to 1048576 tokens, but got " +
                std::to_string(vocab_size));
  }
}

void NgramModel::check(std::span<const std::uint32_t> tokens) const {
  const auto wrong = std::ranges::find_if(tokens, [this](std::uint32_t id) { return id >= vocab_size_; });
  if (wrong != tokens.end()) {
    throw_usage("[ngram] expected ids below " + std::to_string(vocab_size_) + ", but got " +
                std::to_string(*wrong));
  }
}

void NgramModel::add(std::span<const std::uint32_t> tokens) {
  check(tokens);
  for (std::size_t i = 0; i < tokens.size(); ++i) add_one(tokens.first(i), tokens[i]);
}

void NgramModel::add_one(std::span<const std::uint32_t> context, std::uint32_t token) {
  for (std::size_t size = 0; size < kOrder && size <= context.size(); ++size) {
    const std::uint64_t history = key_of(last(context, size));
    const bool is_new = ++at(extended(history, size, token)).count == 1;
    Node& node = at(history);
    ++node.next;
    node.kinds += is_new ? 1 : 0;
  }
}

double NgramModel::probability(std::span<const std::uint32_t> context, std::uint32_t token) const {
  double p = 1.0 / vocab_size_;
  for (std::size_t size = 0; size < kOrder && size <= context.size(); ++size) {
    const std::uint64_t history = key_of(last(context, size));
    const Node* node = find(history);
    if (node == nullptr || node->next == 0) break;  // nor was anything longer seen
    const Node* whole = find(extended(history, size, token));
    const double count = whole == nullptr ? 0.0 : whole->count;
    p = (count + node->kinds * p) / (static_cast<double>(node->next) + node->kinds);
  }
  return p;
}

const NgramModel::Node* NgramModel::find(std::uint64_t key) const {
  const std::size_t mask = nodes_.size() - 1;
  for (std::size_t place = hash_pair(key, 0) & mask;; place = (place + 1) & mask) {
    if (nodes_[place].key == key) return &nodes_[place];
    if (nodes_[place].key == 0) return nullptr;
  }
}

NgramModel::Node& NgramModel::at(std::uint64_t key) {
  if (2 * (used_ + 1) > nodes_.size()) grow();
  const std::size_t mask = nodes_.size() - 1;
  std::size_t place = hash_pair(key, 0) & mask;
  while (nodes_[place].key != key && nodes_[place].key != 0) place = (place + 1) & mask;
  if (nodes_[place].key == 0) {
    nodes_[place].key = key;
    ++used_;
  }
  return nodes_[place];
}

void NgramModel::grow() {
  std::vector<Node> old(nodes_.size() * 2);
  old.swap(nodes_);
  const std::size_t mask = nodes_.size() - 1;
  for (const Node& node : old) {
    if (node.key == 0) continue;
    std::size_t place = hash_pair(node.key, 0) & mask;
    while (nodes_[place].key != 0) place = (place + 1) & mask;
    nodes_[place] = node;
  }
}

double context_gain(const NgramModel& background, std::span<const std::uint32_t> previous,
                    std::span<const std::uint32_t> following) {
  background.check(previous);
  background.check(following);
  NgramModel with(background.vocab_size());
  NgramModel without(background.vocab_size());
  with.add(previous);
  double nats = 0.0;
  for (std::size_t i = 0; i < following.size(); ++i) {
    const auto context = following.first(i);
    const std::uint32_t token = following[i];
    if (i + 1 >= kOrder) {
      const double known = (1.0 - kCacheShare) * background.probability(context, token);
      nats += std::log((known + kCacheShare * with.probability(context, token)) /
                       (known + kCacheShare * without.probability(context, token)));
    }
    with.add_one(context, token);
    without.add_one(context, token);
  }
  return following.size() < kOrder ? 0.0 : nats / static_cast<double>(following.size() + 1 - kOrder);
}

}  // namespace castline::text
