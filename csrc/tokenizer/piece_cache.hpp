// Remembers the ids of short pieces: most of a text is made of few different words.
#pragma once

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
  static constexpr std::size_t kMaxBytes = 16;
  static constexpr std::size_t kMaxIds = 3;

  /// A piece as two words and its length, which together name it exactly.
  struct Key {
    std::uint64_t front;
    std::uint64_t back;
    std::uint32_t length;
  };

  PieceCache() : sets_(kSets) {}

  /// `piece` has from 1 to kMaxBytes bytes.
  static Key key(std::string_view piece) {
    const char* p = piece.data();
    const std::size_t n = piece.size();
    const auto length = static_cast<std::uint32_t>(n);
    if (n >= 8) return {load<std::uint64_t>(p), load<std::uint64_t>(p + n - 8), length};
    if (n >= 4) return {load<std::uint32_t>(p), load<std::uint32_t>(p + n - 4), length};
    return {static_cast<unsigned char>(p[0]),
            static_cast<std::uint64_t>(static_cast<unsigned char>(p[n / 2])) << 8 |
                static_cast<unsigned char>(p[n - 1]),
            length};
  }

  /// The ids, or an empty span when they are not known. Valid until the next insert.
  std::span<const std::uint32_t> find(const Key& key) const {
    for (const Entry& entry : sets_[set_of(key)].ways) {
      if (entry.front == key.front && entry.back == key.back && entry.length == key.length) {
        return {entry.ids.data(), entry.count};
      }
    }
    return {};
  }

  /// Remembers from 1 to kMaxIds ids, in place of the older entry of the set.
  void insert(const Key& key, std::span<const std::uint32_t> ids) {
    auto& ways = sets_[set_of(key)].ways;
    ways[1] = ways[0];
    ways[0] = {key.front,
               key.back,
               static_cast<std::uint16_t>(key.length),
               static_cast<std::uint16_t>(ids.size()),
               {}};
    std::memcpy(ways[0].ids.data(), ids.data(), ids.size_bytes());
  }

 private:
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

  static std::size_t set_of(const Key& key) {
    std::uint64_t hash = (key.front ^ std::rotl(key.back, 31) ^ key.length) * 0x9E3779B97F4A7C15ULL;
    hash ^= hash >> 32;
    hash *= 0xD6E8FEB86659FD93ULL;
    return static_cast<std::size_t>(hash >> 49);
  }

  std::vector<Set> sets_;
};

}  // namespace castline::tokenizer
