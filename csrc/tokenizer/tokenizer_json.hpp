// Reading Hugging Face's tokenizer.json into the parts that byte-level BPE needs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.hpp"
#include "tokenizer/bpe.hpp"
#include "tokenizer/splitter.hpp"
#include "tokenizer/vocabulary.hpp"

namespace castline::tokenizer {

/// A tokenizer.json, checked: every id names one token, and all is within the limits of PairTable.
struct TokenizerFile {
  Vocabulary vocabulary;  ///< the model's tokens and the added ones
  std::vector<Merge> merges;
  bool ignore_merges = false;  ///< a piece that is a token is that token, whatever the merges say
  std::optional<std::uint32_t> unknown;
  bool fuse_unknown = false;
  std::vector<AddedToken> added_tokens;  ///< `content` as it is looked for: in NFC where that applies
  bool nfc = false;                      ///< text is put into Normalization Form C
  std::vector<Step> steps;
  std::vector<std::uint32_t> before;  ///< the ids that the post-processor puts before a single text
  std::vector<std::uint32_t> after;   ///< and after it
};

/// Throws a data error `[tokenizer.json] …` that names the member that is wrong, or the component that is
/// not supported. `truncation` and `padding` are left to the caller, as transformers leaves them.
TokenizerFile read_tokenizer_json(std::string_view json);

}  // namespace castline::tokenizer
