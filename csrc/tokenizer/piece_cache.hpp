// Remembers the ids of short pieces: most of a text is made of few different words.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace castline::tokenizer {

/// A two-way cache of fixed size from pieces of up to 16 bytes to up to 3 ids. Not thread-safe.
class PieceCache {
 public:
  /// A piece as two words and its length, which together name it exactly, and where to look for it.
  struct Key {
    std::uint64_t front = 0;
    std::uint64_t back = 0;
    std::uint32_t length = 0;  // 0: too long to be remembered
    std::uint32_t set = 0;
  };

  PieceCache() : sets_(kSets) {}

  /// The key of a piece that is not empty. Its set is asked of the memory, for a find that comes soon.
  Key look_ahead(std::string_view piece) const {
    const std::size_t n = piece.size();
    if (n > kMaxBytes) return {};
    const char* p = piece.data();
    Key key;
    if (n >= 8) {
      key.front = load<std::uint64_t>(p);
      key.back = load<std::uint64_t>(p + n - 8);
    } else if (n >= 4) {
      key.front = load<std::uint32_t>(p);
      key.back = load<std::uint32_t>(p + n - 4);
    } else {
      key.front = load<std::uint8_t>(p);
      key.back =
          static_cast<std::uint64_t>(load<std::uint8_t>(p + n / 2)) << 8 | load<std::uint8_t>(p + n - 1);
    }
    key.length = static_cast<std::uint32_t>(n);
    key.set = set_of(key);
    __builtin_prefetch(&sets_[key.set]);
    return key;
  }

  /// The ids, or an empty span when they are not known. Valid until the next insert.
  std::span<const std::uint32_t> find(const Key& key) const {
    for (const Entry& entry : sets_[key.set].ways) {
      if (entry.front == key.front && entry.back == key.back && entry.length == key.length) {
        return {entry.ids.data(), entry.count};
      }
    }
    return {};
  }

  /// Remembers the ids, unless they are too many, in place of the older entry of the set.
  void insert(const Key& key, std::span<const std::uint32_t> ids) {
    if (ids.empty() || ids.size() > kMaxIds) return;
    auto& ways = sets_[key.set].ways;
    ways[1] = ways[0];
    ways[0] = {key.front,
               key.back,
               static_cast<std::uint16_t>(key.length),
               static_cast<std::uint16_t>(ids.size()),
               {}};
    std::copy(ids.begin(), ids.end(), ways[0].ids.begin());
  }

 private:
  static constexpr std::size_t kMaxBytes = 16;
  static constexpr std::size_t kMaxIds = 3;
  static constexpr std::size_t kSets = std::size_t{1} << 15;

  struct Entry {
    std::uint64_t front = 0;
    std::uint64_t back = 0;
    std::uint16_t length = 0;  // 0: empty
    std::uint16_t count = 0;
    std::array<std::uint32_t, kMaxIds> ids{};
  };
  struct alignas(64) Set {
    std::array<Entry, 2> ways;
  };

  template <class Word>
  static Word load(const char* p) {
    Word word{};
    std::memcpy(&word, p, sizeof word);
    return word;
  }

  static std::uint32_t set_of(const Key& key) {
    std::uint64_t hash = (key.front ^ std::rotl(key.back, 31) ^ key.length) * 0x9E3779B97F4A7C15ULL;
    hash ^= hash >> 32;
    hash *= 0xD6E8FEB86659FD93ULL;
    return static_cast<std::uint32_t>(hash >> 49);
  }

  std::vector<Set> sets_;
};

}  // namespace castline::tokenizer
