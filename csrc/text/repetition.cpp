#include "text/repetition.hpp"

#include <bit>

#include "text/hash.hpp"

namespace castline::text {

void RepetitionCounter::reset(std::size_t expected) {
  const std::size_t size = std::bit_ceil(2 * expected + 1);
  mask_ = size - 1;
  slots_.assign(size, Slot{});
}

// The slot of `key`: linear probing, key 0 means empty.
std::uint32_t RepetitionCounter::find(std::uint64_t key) {
  key += key == 0;
  std::size_t at = key & mask_;
  while (slots_[at].key != key && slots_[at].key != 0) at = (at + 1) & mask_;
  slots_[at].key = key;
  return static_cast<std::uint32_t>(at);
}

Duplicates RepetitionCounter::duplicates(const std::vector<Piece>& pieces) {
  reset(pieces.size());
  Duplicates found;
  for (const Piece& piece : pieces) {
    Slot& slot = slots_[find(piece.hash)];
    if (slot.seen) {
      ++found.count;
      found.characters += piece.characters;
    }
    slot.seen = true;
  }
  return found;
}

// An n-gram repeats only if the (n-1)-grams at its two ends do. So every length looks only at the places that
// the length before left over, and in ordinary text nearly all the work is done by the 2-grams.
NGramRepetition RepetitionCounter::n_grams(const std::vector<Piece>& tokens) {
  NGramRepetition found;
  ends_.resize(tokens.size() + 1);
  joined_.resize(tokens.size() + 1);
  std::uint64_t end = 0;
  std::uint64_t spaces = 0;
  bool joined = true;  // no space before the first token
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    spaces += !joined & !tokens[i].joined;
    joined = tokens[i].joined;
    end += tokens[i].characters;
    ends_[i + 1] = end;
    joined_[i + 1] = end + spaces;
  }
  candidates_.resize(tokens.empty() ? 0 : tokens.size() - 1);
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    candidates_[i] = {hash_pair(tokens[i].hash, tokens[i + 1].hash), static_cast<std::uint32_t>(i), 0};
  }
  for (std::size_t n = 2; n <= 10 && n <= tokens.size(); ++n) {
    reset(candidates_.size());
    for (Candidate& candidate : candidates_) {
      candidate.slot = find(candidate.key);
      ++slots_[candidate.slot].count;
    }
    if (n <= 4) {
      found.top[n - 2] = top_characters(n);
    } else {
      found.duplicate[n - 5] = duplicate_characters(n);
    }
    lengthen();
  }
  return found;
}

// Count times length of the most frequent n-gram, the first of several; where none repeats that is the first
// one.
std::uint64_t RepetitionCounter::top_characters(std::size_t n) const {
  std::uint32_t most = 1;
  std::uint32_t position = 0;
  for (const Candidate& candidate : candidates_) {
    const std::uint32_t count = slots_[candidate.slot].count;
    if (count > most) {
      most = count;
      position = candidate.position;
    }
  }
  // joined_ puts the space before a token: the one before the first is not part of the n-gram.
  const std::uint64_t first = ends_[position + 1] - ends_[position];
  return most * (first + joined_[position + n] - joined_[position + 1]);
}

std::uint64_t RepetitionCounter::duplicate_characters(std::size_t n) {
  std::uint64_t characters = 0;
  std::size_t next = 0;
  for (const Candidate& candidate : candidates_) {
    if (candidate.position < next) continue;
    Slot& slot = slots_[candidate.slot];
    if (slot.seen) {
      characters += ends_[candidate.position + n] - ends_[candidate.position];
      next = candidate.position + n;
    }
    slot.seen = true;
  }
  return characters;
}

// Turns the candidates for n into those for n + 1: places where the n-grams here and one further both repeat.
// Written without branches on the data, which are as good as random.
void RepetitionCounter::lengthen() {
  std::size_t kept = 0;
  const std::size_t pairs = candidates_.empty() ? 0 : candidates_.size() - 1;
  bool repeats = pairs > 0 && slots_[candidates_[0].slot].count > 1;
  for (std::size_t i = 0; i < pairs; ++i) {
    const Candidate here = candidates_[i];
    const Candidate& further = candidates_[i + 1];
    const bool next_repeats = slots_[further.slot].count > 1;
    const bool adjacent = further.position == here.position + 1;
    candidates_[kept] = {hash_pair(here.key, further.key), here.position, 0};
    kept += repeats & next_repeats & adjacent;
    repeats = next_repeats;
  }
  candidates_.resize(kept);
}

}  // namespace castline::text
