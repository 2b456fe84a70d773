#include "tokenizer/bpe.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/utf8.hpp"

namespace castline::tokenizer {
namespace {

// Up to this many symbols, looking through all ranks for each merge beats keeping a heap.
constexpr std::size_t kScanLimit = 96;

constexpr std::uint32_t kNoToken = 0xFFFFFFFF;
constexpr std::uint32_t kGone = 0xFFFFFFFF;  // a symbol that its left neighbour has taken in

}  // namespace

Bpe::Bpe(const Vocabulary& vocabulary, const std::vector<Merge>& merges, Unknown unknown)
    : pairs_(merges), unknown_(unknown) {
  merged_.reserve(merges.size());
  for (const Merge& merge : merges) merged_.push_back(merge.merged);

  byte_tokens_.fill(kNoToken);
  const std::vector<Token>& tokens = vocabulary.tokens();
  for (std::uint32_t id = 0; id < tokens.size(); ++id) {
    const std::string& bytes = tokens[id].bytes;
    if (tokens[id].byte_level && bytes.size() == 1)
      byte_tokens_[static_cast<unsigned char>(bytes.front())] = id;
  }
  knows_all_bytes_ = std::find(byte_tokens_.begin(), byte_tokens_.end(), kNoToken) == byte_tokens_.end();
  if (knows_all_bytes_) characters_ = CharacterTokens(pairs_, merges, tokens, byte_tokens_);
}

void Bpe::encode(std::string_view piece, BpeScratch& scratch, std::vector<std::uint32_t>& ids) const {
  scratch.ids.clear();
  if (knows_all_bytes_) {
    to_known_symbols(piece, scratch.ids);
  } else {
    to_symbols(piece, scratch.ids);
  }
  if (scratch.ids.size() > kScanLimit) {
    merge_by_heap(scratch);
  } else if (scratch.ids.size() > 1) {
    merge_by_scanning(scratch);
  }
  ids.insert(ids.end(), scratch.ids.begin(), scratch.ids.end());
}

void Bpe::to_known_symbols(std::string_view piece, std::vector<std::uint32_t>& symbols) const {
  const char* const end = piece.data() + piece.size();
  bool after_ascii = false;
  for (const char* p = piece.data(); p < end;) {
    const char* const start = p;
    const char32_t code = utf8::next(p);
    if (code >= 0x80) {
      const std::uint32_t whole = characters_.token(code, after_ascii);
      if (whole != CharacterTokens::kNone) {
        symbols.push_back(whole);
        after_ascii = false;
        continue;
      }
    }
    for (const char* byte = start; byte < p; ++byte) {
      symbols.push_back(byte_tokens_[static_cast<unsigned char>(*byte)]);
    }
    after_ascii = code < 0x80;
  }
}

void Bpe::to_symbols(std::string_view piece, std::vector<std::uint32_t>& symbols) const {
  bool after_unknown = false;
  for (const char byte : piece) {
    const std::uint32_t id = byte_tokens_[static_cast<unsigned char>(byte)];
    if (id != kNoToken) {
      symbols.push_back(id);
      after_unknown = false;
    } else if (unknown_.token) {
      if (!(after_unknown && unknown_.fuse)) symbols.push_back(*unknown_.token);
      after_unknown = true;
    }
  }
}

void Bpe::merge_by_scanning(BpeScratch& scratch) const {
  std::vector<std::uint32_t>& ids = scratch.ids;
  std::vector<std::uint32_t>& ranks = scratch.ranks;  // ranks[i] is that of ids[i], ids[i + 1]
  ranks.clear();
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) ranks.push_back(pairs_.rank(ids[i], ids[i + 1]));
  while (!ranks.empty()) {
    const auto lowest = std::min_element(ranks.begin(), ranks.end());
    if (*lowest == PairTable::kNone) return;
    const auto i = static_cast<std::size_t>(lowest - ranks.begin());
    ids[i] = merged_[*lowest];
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    ranks.erase(lowest);
    if (i > 0) ranks[i - 1] = pairs_.rank(ids[i - 1], ids[i]);
    if (i < ranks.size()) ranks[i] = pairs_.rank(ids[i], ids[i + 1]);
  }
}

void Bpe::merge_by_heap(BpeScratch& scratch) const {
  std::vector<std::uint32_t>& ids = scratch.ids;
  std::vector<std::uint32_t>& ranks = scratch.ranks;
  std::vector<std::uint32_t>& next = scratch.next;
  std::vector<std::uint32_t>& previous = scratch.previous;
  std::vector<std::uint64_t>& heap = scratch.heap;  // rank, then place: the leftmost of equals comes first
  const auto count = static_cast<std::uint32_t>(ids.size());
  ranks.assign(count, PairTable::kNone);
  next.resize(count);
  previous.resize(count);
  heap.clear();

  // The pair that begins at symbol i has changed; entries of its former rank are passed over later.
  const auto look_up = [&](std::uint32_t i) {
    ranks[i] = next[i] < count ? pairs_.rank(ids[i], ids[next[i]]) : PairTable::kNone;
    if (ranks[i] != PairTable::kNone) heap.push_back(static_cast<std::uint64_t>(ranks[i]) << 32 | i);
    return ranks[i] != PairTable::kNone;
  };

  for (std::uint32_t i = 0; i < count; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;  // wraps at 0, which is asked for before it is used
  }
  for (std::uint32_t i = 0; i < count; ++i) look_up(i);
  std::make_heap(heap.begin(), heap.end(), std::greater<>());

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const std::uint64_t top = heap.back();
    heap.pop_back();
    const auto i = static_cast<std::uint32_t>(top);
    const auto rank = static_cast<std::uint32_t>(top >> 32);
    if (ids[i] == kGone || ranks[i] != rank) continue;
    const std::uint32_t right = next[i];
    ids[i] = merged_[rank];
    ids[right] = kGone;
    next[i] = next[right];
    if (next[i] < count) previous[next[i]] = i;
    if (look_up(i)) std::push_heap(heap.begin(), heap.end(), std::greater<>());
    if (i > 0 && look_up(previous[i])) std::push_heap(heap.begin(), heap.end(), std::greater<>());
  }
  std::erase(ids, kGone);
}

}  // namespace castline::tokenizer
