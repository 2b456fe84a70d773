// Finding listed terms in texts: Aho and Corasick (1975) over folded text, with word boundaries where words
// have them.
//
// Folding, of terms and texts alike: lower case; full-width Latin (U+FF01 to FF5E) as ASCII; format
// characters (joiners, soft hyphens) left out; white space runs as one space. A term is found where it does
// not continue a word: not behind or before a letter, digit, number, connector or mark, if the term's own
// first or last character is one. Scripts without spaces (Han, kana, Thai, Lao, Myanmar, Khmer) have no such
// boundaries: their terms are found anywhere, and Latin terms also right beside them.
//
// Of terms that overlap, the one that begins first counts, of several there the longest. A term within an
// exception (a longer phrase, found in the same way) does not count; a term that is an exception is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace castline::text {

class TermMatcher {
 public:
  /// Terms and exceptions are any bytes (what is not UTF-8 is U+FFFD); terms that are the same when folded
  /// are found as the first of them. Throws a usage error for a term of which folding leaves nothing.
  TermMatcher(std::span<const std::string_view> terms, std::span<const std::string_view> exceptions);

  /// The numbers of the terms found in `text`, in order.
  std::vector<std::uint32_t> operator()(std::string_view text) const;

  std::size_t size() const { return terms_; }

 private:
  struct Node {
    std::uint32_t first_edge = 0;
    std::uint32_t edges = 0;
    std::uint32_t fail = 0;    // the longest proper suffix that is a node
    std::uint32_t output = 0;  // the nearest node on the way of fails, from here, that ends a term; 0: none
    std::int32_t term = -1;    // what ends here; exceptions follow the terms
    std::uint32_t length = 0;  // of the term, in bytes
  };

  void build(const std::vector<std::string>& folded);
  std::uint32_t child(std::uint32_t node, unsigned char byte) const;

  std::size_t terms_;
  std::vector<Node> nodes_;
  std::vector<unsigned char> labels_;    // of all edges, by node, ascending
  std::vector<std::uint32_t> children_;  // beside the labels
  std::vector<std::uint32_t> root_;      // the root's child for every byte
};

}  // namespace castline::text
