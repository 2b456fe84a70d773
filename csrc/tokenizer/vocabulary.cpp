#include "tokenizer/vocabulary.hpp"

#include "tokenizer/byte_alphabet.hpp"

namespace castline::tokenizer {

void Vocabulary::reserve(std::size_t count) {
  tokens_.reserve(count);
  index_.reserve(count);
}

bool Vocabulary::add(std::string_view written, std::uint32_t id, Origin origin) {
  if (has(id) || !index_.add(written, id)) return false;
  if (id >= tokens_.size()) tokens_.resize(id + 1);
  auto bytes = from_byte_alphabet(written);
  const bool byte_level = bytes && origin == Origin::model;
  tokens_[id] = {bytes ? std::move(*bytes) : std::string(written), true, byte_level, false};
  return true;
}

void Vocabulary::mark_added(std::uint32_t id, std::string_view written, bool special) {
  tokens_[id].bytes = from_byte_alphabet(written).value_or(std::string(written));
  tokens_[id].special = special;
}

}  // namespace castline::tokenizer
