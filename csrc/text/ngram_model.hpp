// A trigram model of token ids that learns as it reads (Witten and Bell 1991, method C), and how much more
// predictable a text is after another one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace castline::text {

class NgramModel {
 public:
  static constexpr std::uint32_t kMostTokens = 1u << 20;  // three of them fit a key exactly

  /// Ids are below `vocab_size`; a usage error where that is 0 or above kMostTokens.
  explicit NgramModel(std::uint32_t vocab_size);

  std::uint32_t vocab_size() const { return vocab_size_; }

  /// Learns the tokens of one text, in order. A usage error for an id that is none.
  void add(std::span<const std::uint32_t> tokens);

  /// Learns `token` after `context` (of which the last two count).
  void add_one(std::span<const std::uint32_t> context, std::uint32_t token);

  /// The probability of `token` after `context` (of which the last two count); never 0.
  ///
  ///     p_k(w | h) = (c(h w) + t(h) p_{k-1}(w | h')) / (c(h) + t(h)),   p_{-1} = 1 / vocab_size
  ///
  /// where h are the last k tokens, h' all but the first of them, c counts and t counts different next
  /// tokens.
  double probability(std::span<const std::uint32_t> context, std::uint32_t token) const;

  void check(std::span<const std::uint32_t> tokens) const;

 private:
  struct Node {  // of a sequence of up to three tokens; key 0 is an empty place
    std::uint64_t key = 0;
    std::uint32_t count = 0;  // how often it was seen
    std::uint32_t next = 0;   // how often a token was seen after it
    std::uint32_t kinds = 0;  // how many different ones
  };

  const Node* find(std::uint64_t key) const;
  Node& at(std::uint64_t key);
  void grow();

  std::uint32_t vocab_size_;
  std::size_t used_ = 0;
  std::vector<Node> nodes_;  // open addressing, linear probing, at most half full
};

/// The share of a cache in a mixture with the background (Kuhn and De Mori 1990).
constexpr double kCacheShare = 0.1;

/// By how many nats per token reading `previous` first makes `following` more predictable: the mean of
///
///     ln p(w | h, previous, following before w) - ln p(w | h, following before w),
///     p(w | h, x) = 0.9 background(w | h) + 0.1 cache_x(w | h)
///
/// over the tokens of `following` but the first two, which have no whole context; cache_x is a model that
/// has read x alone. Negative where `previous` misleads; 0 where `following` is shorter than three tokens.
double context_gain(const NgramModel& background, std::span<const std::uint32_t> previous,
                    std::span<const std::uint32_t> following);

}  // namespace castline::text
