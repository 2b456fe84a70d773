// How much of a document repeats: lines, paragraphs, n-grams of tokens (Gopher, appendix A).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace castline::text {

/// A piece of text that can repeat: the hash of its content and its length in characters.
struct Piece {
  std::uint64_t hash = 0;
  std::uint32_t characters = 0;
  bool joined = false;  ///< tokens only: no space is counted on either side (a Han character)
};

struct Duplicates {
  std::uint64_t count = 0;       ///< pieces that came before
  std::uint64_t characters = 0;  ///< their characters
};

/// Characters of repeated n-grams, n from 2 to 10.
struct NGramRepetition {
  std::array<std::uint64_t, 3> top{};        ///< n = 2, 3, 4
  std::array<std::uint64_t, 6> duplicate{};  ///< n = 5 … 10
};

/// Counts pieces and n-grams in hash tables that are kept from document to document. Two different pieces
/// with the same 64-bit hash are taken for one: for a million pieces the chance is 3e-8.
class RepetitionCounter {
 public:
  Duplicates duplicates(const std::vector<Piece>& pieces);
  NGramRepetition n_grams(const std::vector<Piece>& tokens);

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::uint32_t count = 0;
    bool seen = false;
  };
  struct Candidate {
    std::uint64_t key = 0;
    std::uint32_t position = 0;
    std::uint32_t slot = 0;
  };

  void reset(std::size_t expected);
  std::uint32_t find(std::uint64_t key);
  std::uint64_t top_characters(std::size_t n) const;
  std::uint64_t duplicate_characters(std::size_t n);
  void lengthen();

  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
  std::vector<Candidate> candidates_;
  std::vector<std::uint64_t> ends_;    // characters of all tokens before each place
  std::vector<std::uint64_t> joined_;  // the same with the spaces that join tokens
};

}  // namespace castline::text
