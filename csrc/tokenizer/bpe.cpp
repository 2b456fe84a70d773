#include "tokenizer/bpe.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <utility>

namespace castline::tokenizer {
namespace {

// Up to this many symbols, looking through all ranks for each merge beats keeping a heap.
constexpr std::size_t kScanLimit = 96;

constexpr std::uint32_t kGone = 0xFFFFFFFF;  // a symbol that its left neighbour has taken in

}  // namespace

PairTable::PairTable(const std::vector<Merge>& merges) {
  const std::size_t size = std::bit_ceil(std::max<std::size_t>(merges.size() * 2, 2));
  entries_.assign(size, Entry{0, kNone});
  mask_ = size - 1;
  shift_ = 64 - std::countr_zero(size);
  for (std::uint32_t rank = 0; rank < merges.size(); ++rank) {
    const std::uint64_t key = static_cast<std::uint64_t>(merges[rank].left) << 32 | merges[rank].right;
    std::size_t i = slot(key);
    while (entries_[i].rank != kNone && entries_[i].key != key) i = (i + 1) & mask_;
    entries_[i] = {key, rank};
  }
}

Bpe::Bpe(const std::vector<Merge>& merges, Options options) : pairs_(merges), options_(std::move(options)) {
  merged_.reserve(merges.size());
  for (const Merge& merge : merges) merged_.push_back(merge.merged);
}

void Bpe::encode(std::string_view piece, BpeScratch& scratch, std::vector<std::uint32_t>& ids) const {
  to_symbols(piece, scratch.ids);
  if (scratch.ids.size() > kScanLimit) {
    merge_by_heap(scratch);
  } else if (scratch.ids.size() > 1) {
    merge_by_scanning(scratch);
  }
  ids.insert(ids.end(), scratch.ids.begin(), scratch.ids.end());
}

void Bpe::to_symbols(std::string_view piece, std::vector<std::uint32_t>& symbols) const {
  symbols.clear();
  bool after_unknown = false;
  for (const char c : piece) {
    const auto& id = options_.byte_ids[static_cast<unsigned char>(c)];
    if (id) {
      symbols.push_back(*id);
      after_unknown = false;
    } else if (options_.unknown) {
      if (!(after_unknown && options_.fuse_unknown)) symbols.push_back(*options_.unknown);
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
