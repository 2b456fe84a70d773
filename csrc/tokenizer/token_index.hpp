// Ids by text: an open-addressed hash table with linear probing over one long string.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace castline::tokenizer {

class TokenIndex {
 public:
  /// Makes room for `count` texts.
  void reserve(std::size_t count);

  /// Remembers the id of a text; false, and nothing changed, if the text is known already. All texts
  /// together stay below 4 GiB.
  bool add(std::string_view text, std::uint32_t id);

  std::optional<std::uint32_t> find(std::string_view text) const;

  std::size_t count() const { return count_; }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t id = kEmpty;
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
  };
  static constexpr std::uint32_t kEmpty = 0xFFFFFFFF;

  std::size_t place(std::string_view text, std::uint32_t hash) const;

  std::vector<Slot> slots_ = std::vector<Slot>(2);
  std::size_t count_ = 0;
  std::string texts_;
};

}  // namespace castline::tokenizer
