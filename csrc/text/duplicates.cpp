#include "text/duplicates.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "text/duplicate_index.hpp"
#include "text/set_store.hpp"
#include "text/union_find.hpp"

namespace castline::text {
namespace {

constexpr std::size_t kPairsPerTask = 16;
constexpr std::size_t kPairsPerBatch = 4096;
constexpr std::size_t kSlices = 64;  // of a partition, sorted in parallel

/// The size of the intersection of two sorted sets. Without branches on the data: they would be mispredicted.
std::size_t intersection(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) {
  std::size_t i = 0;
  std::size_t j = 0;
  std::size_t common = 0;
  while (i < a.size() && j < b.size()) {
    const std::uint64_t x = a[i];
    const std::uint64_t y = b[j];
    common += x == y;
    i += x <= y;
    j += y <= x;
  }
  return common;
}

double jaccard(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) {
  const std::size_t common = intersection(a, b);
  return static_cast<double>(common) / static_cast<double>(a.size() + b.size() - common);
}

template <class Key>
struct Keyed {
  Key key;
  std::uint32_t document;
  auto operator<=>(const Keyed&) const = default;
};

std::uint64_t leading(std::uint64_t key) { return key; }
std::uint64_t leading(const Hash128& key) { return key.low; }

/// The part of [0, parts) into which the range of a key falls, monotone in the key.
std::size_t part_of(std::uint64_t key, std::size_t parts) {
  return static_cast<std::size_t>(static_cast<unsigned __int128>(key) * parts >> 64);
}

/// Pairs that were candidates before, as many as fit: a pair that is forgotten is compared again, in vain.
class MetPairs {
 public:
  explicit MetPairs(std::size_t slots) : slots_(std::bit_floor(std::max<std::size_t>(slots, 1024))) {}

  /// Remembers a pair; true where it was there already.
  bool met(std::uint32_t first, std::uint32_t second) {
    const std::uint64_t pair = std::uint64_t{first} << 32 | second;
    return std::exchange(slots_[hash_pair(pair, 0) & (slots_.size() - 1)], pair) == pair;
  }

 private:
  std::vector<std::uint64_t> slots_;
};

/// One search. Candidates are found key by key: a column of keys is read in as many passes as it takes to
/// sort it in the memory there is, each pass for a range of keys. They are compared in batches, in parallel,
/// and joined in the order in which they were found. A candidate whose documents are connected by then is
/// dropped, as it would have been without batches: so the forest depends neither on batches nor on passes.
class Search {
 public:
  Search(std::span<const std::string> paths, std::span<const std::uint32_t> known,
         const DuplicateSearch& options, ThreadPool& pool, const std::function<void()>& poll)
      : options_(options),
        pool_(pool),
        poll_(poll),
        store_(paths, options.memory / 4),
        known_(known.size()),
        sets_(store_.documents()),
        searched_(store_.documents()),
        met_(std::min(options.memory / 128, 8 * store_.documents())) {
    if (known.size() > store_.documents()) {
      throw_usage("[duplicates] expected clusters of at most " + std::to_string(store_.documents()) +
                  " documents, but got " + std::to_string(known.size()));
    }
    for (std::uint32_t i = 0; i < known.size(); ++i) {
      if (known[i] > i) {
        throw_usage("[duplicates] expected the cluster of document " + std::to_string(i) +
                    " to begin before it, but got " + std::to_string(known[i]));
      }
      sets_.join(known[i], i);
    }
  }

  Duplicates run() {
    if (options_.exact) {
      for_each_group<Hash128>(
          kContentColumn, [](std::uint32_t) { return true; },
          [this](std::span<const Keyed<Hash128>> group) { join(group); });
    }
    for_each_group<Hash128>(
        kSetColumn, [](std::uint32_t) { return true; },
        [this](std::span<const Keyed<Hash128>> group) {
          join(group);
          // One of them stands for all: a new one, whose pairs with any are looked for.
          const auto first_new =
              std::find_if(group.begin(), group.end(), [this](const auto& k) { return is_new(k.document); });
          searched_[(first_new == group.end() ? group.front() : *first_new).document] = true;
        });
    for (std::size_t band = 0; band < store_.bands(); ++band) {
      for_each_group<std::uint64_t>(
          kFirstBandColumn + band, [this](std::uint32_t document) { return bool{searched_[document]}; },
          [this](std::span<const Keyed<std::uint64_t>> bucket) { search(bucket); });
    }
    flush();
    std::sort(found_.begin(), found_.end(), [](const DuplicatePair& a, const DuplicatePair& b) {
      return std::pair(a.first, a.second) < std::pair(b.first, b.second);
    });
    std::vector<std::uint32_t> clusters(store_.documents());
    for (std::uint32_t i = 0; i < clusters.size(); ++i) clusters[i] = sets_.find(i);
    return {std::move(found_), std::move(clusters)};
  }

 private:
  bool is_new(std::uint32_t document) const { return document >= known_; }

  /// Calls use(group) for every group of documents with the same key, in the order of keys and documents. A
  /// key of zeros is none.
  template <class Key, class Wanted, class Use>
  void for_each_group(std::size_t column, Wanted&& wanted, Use&& use) {
    const std::size_t room = options_.memory / 4 / sizeof(Keyed<Key>);  // vectors may be twice as large
    const std::size_t passes = store_.documents() / std::max<std::size_t>(room, 1) + 1;
    std::vector<Key> keys;
    std::array<std::vector<Keyed<Key>>, kSlices> slices;
    for (std::size_t pass = 0; pass < passes; ++pass) {
      for (std::vector<Keyed<Key>>& slice : slices) slice.clear();
      for (const SetStore::File& file : store_.files()) {
        poll_();
        file.index.read_column(column, keys);
        for (std::uint32_t i = 0; i < keys.size(); ++i) {
          if (keys[i] == Key{} || !wanted(file.first + i)) continue;
          const std::size_t part = part_of(leading(keys[i]), passes * kSlices);
          if (part / kSlices == pass) slices[part % kSlices].push_back({keys[i], file.first + i});
        }
      }
      pool_.run(kSlices, 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) std::sort(slices[i].begin(), slices[i].end());
      });
      for (const std::vector<Keyed<Key>>& slice : slices) {
        for (std::size_t begin = 0, end = 0; begin < slice.size(); begin = end) {
          while (end < slice.size() && slice[end].key == slice[begin].key) ++end;
          use(std::span(slice).subspan(begin, end - begin));
        }
      }
    }
  }

  /// Joins documents of which one hash says that they are the same.
  void join(std::span<const Keyed<Hash128>> group) {
    const std::uint32_t first = group.front().document;
    for (const Keyed<Hash128>& other : group.subspan(1)) {
      if (sets_.join(first, other.document) && is_new(other.document)) {
        found_.push_back({first, other.document, 1.0});
      }
    }
  }

  /// Looks for pairs among documents with the same key, of which at least one is new.
  void search(std::span<const Keyed<std::uint64_t>> bucket) {
    const auto new_from = static_cast<std::size_t>(
        std::find_if(bucket.begin(), bucket.end(), [this](const auto& k) { return is_new(k.document); }) -
        bucket.begin());
    const std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
    std::uint32_t united = none;  // a document that all new ones are connected to
    for (std::size_t i = 0; i + 1 < bucket.size() && new_from < bucket.size(); ++i) {
      const std::uint32_t first = bucket[i].document;
      if (united != none && sets_.find(first) == sets_.find(united)) continue;
      bool all_connected = true;
      for (const Keyed<std::uint64_t>& other : bucket.subspan(std::max(i + 1, new_from))) {
        const std::uint32_t second = other.document;
        if (sets_.find(first) == sets_.find(second)) continue;
        all_connected = false;
        if (!could_be_similar(first, second) || met_.met(first, second)) continue;
        batch_.push_back({first, second, 0});
        if (batch_.size() == kPairsPerBatch) flush();
      }
      if (!all_connected) continue;
      if (i >= new_from) return;  // then so are all the pairs that are left
      united = first;
    }
  }

  /// Whether the sizes alone leave room for the threshold.
  bool could_be_similar(std::uint32_t first, std::uint32_t second) const {
    const auto [small, large] = std::minmax({store_.size(first), store_.size(second)});
    return static_cast<double>(small) >= options_.threshold * static_cast<double>(large);
  }

  void flush() {
    for (std::span<DuplicatePair> left(batch_); !left.empty();) {
      poll_();
      const std::span<DuplicatePair> now = left.first(store_.load(left, pool_));
      pool_.run(now.size(), kPairsPerTask, [&](std::size_t begin, std::size_t end) {
        for (DuplicatePair& pair : now.subspan(begin, end - begin)) {
          pair.jaccard = jaccard(store_.set(pair.first), store_.set(pair.second));
        }
      });
      for (const DuplicatePair& pair : now) {
        if (pair.jaccard >= options_.threshold && sets_.join(pair.first, pair.second)) found_.push_back(pair);
      }
      left = left.subspan(now.size());
    }
    batch_.clear();
  }

  const DuplicateSearch& options_;
  ThreadPool& pool_;
  const std::function<void()>& poll_;
  SetStore store_;
  std::size_t known_;
  UnionFind sets_;
  std::vector<bool> searched_;  // one document of each group with the same shingles
  MetPairs met_;
  std::vector<DuplicatePair> batch_;
  std::vector<DuplicatePair> found_;
};

}  // namespace

Duplicates find_duplicates(std::span<const std::string> files, std::span<const std::uint32_t> known,
                           const DuplicateSearch& options, ThreadPool& pool,
                           const std::function<void()>& poll) {
  if (!(options.threshold > 0 && options.threshold <= 1)) {
    throw_usage("[duplicates] expected a threshold above 0 and at most 1, but got " +
                std::to_string(options.threshold));
  }
  return Search(files, known, options, pool, poll).run();
}

}  // namespace castline::text
