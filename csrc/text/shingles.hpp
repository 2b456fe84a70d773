// A document as the set of its shingles: the hashes of every five consecutive words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/ascii_words.hpp"
#include "text/hash.hpp"
#include "text/tokens.hpp"

namespace castline::text {

constexpr std::size_t kShingleWords = 5;

/// Makes shingles of documents, keeping its working memory.
class Shingler {
 public:
  /// The 64-bit shingle hashes of `text` in order, repeats included; the result stays valid until the next
  /// call.
  ///
  /// Text: the words of tokens.hpp in lower case, symbols left out, so that neither punctuation nor case
  /// hides a duplicate. Code: all code tokens as they are. A document of one to four words has one shingle of
  /// all of them, one without words has none. Hashes of text and of code never agree but by chance.
  const std::vector<std::uint64_t>& operator()(std::string_view text, TextKind kind);

  /// The hashes that text shingles are made of: one for each word of `text`, in order, valid until the next
  /// call.
  const std::vector<std::uint64_t>& words(std::string_view text);

 private:
  void text_words(std::string_view text);
  void code_words(std::string_view text);
  void mixed_words(std::string_view text);
  std::uint64_t word_hash(const Token& token);

  AsciiWords ascii_;
  std::string storage_;
  std::string lower_;
  std::vector<std::uint64_t> words_;
  std::vector<std::uint64_t> shingles_;
};

/// Sorts shingles and drops repeats: the set that similarities are computed on.
void make_set(std::vector<std::uint64_t>& shingles);

/// A hash of the text with white space runs as one space and none at the ends. Equal hashes: equal texts but
/// for white space.
Hash128 content_hash(std::string_view text);

}  // namespace castline::text
