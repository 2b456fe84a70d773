// The tokens of a tokenizer, by id and by how tokenizer.json writes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/token_index.hpp"

namespace castline::tokenizer {

struct Token {
  std::string bytes;        ///< what it decodes to
  bool used = false;        ///< false where no token has the id
  bool byte_level = false;  ///< the model's, and written in the byte-level alphabet: merges can lead to it
  bool special = false;     ///< an added token marked special
};

enum class Origin { model, added };

class Vocabulary {
 public:
  /// Makes room for `count` tokens.
  void reserve(std::size_t count);

  /// Adds a token by its written form; one that is not of the byte-level alphabet stands for itself.
  /// False, and nothing added, where the written form or the id is taken.
  bool add(std::string_view written, std::uint32_t id, Origin origin);

  /// What an added token changes: it decodes to the bytes that `written` means.
  void mark_added(std::uint32_t id, std::string_view written, bool special);

  std::optional<std::uint32_t> find(std::string_view written) const { return index_.find(written); }
  bool has(std::uint32_t id) const { return id < tokens_.size() && tokens_[id].used; }

  /// By id; as many as the largest id plus one.
  const std::vector<Token>& tokens() const { return tokens_; }
  /// How many ids are used.
  std::size_t count() const { return index_.count(); }

 private:
  std::vector<Token> tokens_;
  TokenIndex index_;
};

}  // namespace castline::tokenizer
