// Added tokens (`<|endoftext|>` and its like): found in the text before anything else looks at it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace castline::tokenizer {

/// One of tokenizer.json's added_tokens; the flags are Hugging Face's.
struct AddedToken {
  std::uint32_t id = 0;
  std::string content;
  bool single_word = false;  ///< found only where no word character is beside it
  bool lstrip = false;       ///< takes in the white space on its left
  bool rstrip = false;       ///< takes in the white space on its right
  bool normalized = false;   ///< looked for in the normalised text
  bool special = false;      ///< left out by decode(skip_special)
};

/// A part of a text: an added token, or the text between two.
struct Segment {
  std::string_view text;
  std::optional<std::uint32_t> id;
};

/// Finds the leftmost and, of those, the longest of a set of added tokens.
class AddedTokenFinder {
 public:
  /// Contents are not empty and differ from each other.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  /// Appends the segments of `text` (well-formed UTF-8) to `segments`, in order; none has empty text.
  void split(std::string_view text, std::vector<Segment>& segments) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, std::uint32_t>> children;  // by byte, ascending
    std::optional<std::uint32_t> token;                             // index into tokens_ of what ends here
  };

  const AddedToken* longest_at(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> trie_;
  std::array<bool, 256> begins_{};  // the bytes that tokens begin with
};

}  // namespace castline::tokenizer
