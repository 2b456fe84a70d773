#include "tokenizer/token_index.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace castline::tokenizer {
namespace {

/// FNV-1a, its high half folded in: tokens are short.
std::uint32_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return static_cast<std::uint32_t>(hash ^ hash >> 32);
}

}  // namespace

void TokenIndex::reserve(std::size_t count) {
  const std::size_t size = std::bit_ceil(count * 2 + 2);
  if (size <= slots_.size()) return;
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(size));
  for (const Slot& slot : old) {
    if (slot.id == kEmpty) continue;
    slots_[place(std::string_view(texts_).substr(slot.offset, slot.length), slot.hash)] = slot;
  }
}

bool TokenIndex::add(std::string_view text, std::uint32_t id) {
  if ((count_ + 1) * 2 > slots_.size()) reserve(count_ * 2 + 1);
  const std::uint32_t hash = hash_of(text);
  Slot& slot = slots_[place(text, hash)];
  if (slot.id != kEmpty) return false;
  slot = {hash, id, static_cast<std::uint32_t>(texts_.size()), static_cast<std::uint32_t>(text.size())};
  texts_ += text;
  ++count_;
  return true;
}

std::optional<std::uint32_t> TokenIndex::find(std::string_view text) const {
  const Slot& slot = slots_[place(text, hash_of(text))];
  if (slot.id == kEmpty) return std::nullopt;
  return slot.id;
}

/// The slot that holds the text, or the empty one where it belongs.
std::size_t TokenIndex::place(std::string_view text, std::uint32_t hash) const {
  for (std::size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[i];
    if (slot.id == kEmpty) return i;
    if (slot.hash == hash && std::string_view(texts_).substr(slot.offset, slot.length) == text) return i;
  }
}

}  // namespace castline::tokenizer
