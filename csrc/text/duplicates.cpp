#include "text/duplicates.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "text/hash.hpp"
#include "text/shingles.hpp"
#include "text/union_find.hpp"

namespace castline::text {
namespace {

constexpr std::size_t kDocumentsPerTask = 32;
constexpr std::size_t kPairsPerTask = 16;
constexpr std::size_t kPairsPerBatch = 4096;

std::string_view as_bytes(const auto* data, std::size_t count) {
  return {reinterpret_cast<const char*>(data), count * sizeof *data};
}

/// The size of the intersection of two sorted sets. Without branches on the data: they would be mispredicted.
std::size_t intersection(const std::vector<std::uint64_t>& a, const std::vector<std::uint64_t>& b) {
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

/// The exact similarity, or 0 where the sizes alone rule out `threshold`.
double jaccard(const std::vector<std::uint64_t>& a, const std::vector<std::uint64_t>& b, double threshold) {
  const auto [small, large] = std::minmax(a.size(), b.size());
  if (static_cast<double>(small) < threshold * static_cast<double>(large)) return 0;
  const std::size_t common = intersection(a, b);
  return static_cast<double>(common) / static_cast<double>(a.size() + b.size() - common);
}

}  // namespace

DuplicateIndex::DuplicateIndex(double threshold, std::size_t permutations, double recall)
    : threshold_(threshold),
      permutations_(permutations),
      banding_(choose_bands(threshold, permutations, recall)) {}

void DuplicateIndex::add(std::span<const std::string_view> texts, TextKind kind, ThreadPool& pool) {
  if (documents_.size() + texts.size() > std::numeric_limits<std::uint32_t>::max()) {
    throw_usage("[duplicates] expected at most 2^32 - 1 documents, but got more");
  }
  std::vector<Document> documents(texts.size());
  std::vector<std::uint64_t> keys(texts.size() * banding_.bands);
  pool.run(texts.size(), kDocumentsPerTask, [&](std::size_t begin, std::size_t end) {
    Shingler shingler;
    MinHasher hasher(permutations_);
    std::vector<std::uint32_t> signature(permutations_);
    for (std::size_t i = begin; i < end; ++i) {
      const std::vector<std::uint64_t>& shingles = shingler(texts[i], kind);
      hasher(shingles, signature);
      documents[i].shingles = shingles;
      documents[i].sequence_hash = hash_bytes(as_bytes(shingles.data(), shingles.size()));
      for (std::size_t band = 0; band < banding_.bands; ++band) {
        keys[i * banding_.bands + band] =
            hash_bytes(as_bytes(signature.data() + band * banding_.rows, banding_.rows), band);
      }
    }
  });
  documents_.insert(documents_.end(), std::make_move_iterator(documents.begin()),
                    std::make_move_iterator(documents.end()));
  band_keys_.insert(band_keys_.end(), keys.begin(), keys.end());
}

/// One search for pairs. Candidates are verified in batches, in parallel, and joined in the order in which
/// they were found. A candidate whose documents are connected by then is dropped, as it would have been
/// without batches: so the forest does not depend on them.
class DuplicateIndex::Search {
 public:
  Search(DuplicateIndex& index, ThreadPool& pool, const std::function<void()>& poll)
      : index_(index), pool_(pool), poll_(poll), sets_(index.size()) {}

  std::vector<DuplicatePair> run() {
    identical();
    for (std::size_t band = 0; band < index_.banding_.bands; ++band) search_band(band);
    flush();
    std::sort(found_.begin(), found_.end(), [](const DuplicatePair& a, const DuplicatePair& b) {
      return std::pair(a.first, a.second) < std::pair(b.first, b.second);
    });
    return std::move(found_);
  }

 private:
  using Keyed = std::pair<std::uint64_t, std::uint32_t>;  // key, document

  /// Calls use(documents) for every group of equal keys, documents in order.
  template <class Use>
  static void for_each_group(std::vector<Keyed>& keyed, Use&& use) {
    std::sort(keyed.begin(), keyed.end());
    for (std::size_t begin = 0, end = 0; begin < keyed.size(); begin = end) {
      while (end < keyed.size() && keyed[end].first == keyed[begin].first) ++end;
      use(std::span(keyed).subspan(begin, end - begin));
    }
  }

  // Pairs identical documents with the first of them; only that one is searched on.
  void identical() {
    std::vector<Keyed> keyed;
    for (std::uint32_t i = 0; i < index_.size(); ++i) {
      if (!index_.documents_[i].shingles.empty()) keyed.emplace_back(index_.documents_[i].sequence_hash, i);
    }
    for_each_group(keyed, [this](std::span<const Keyed> group) {
      const std::uint32_t first = group.front().second;
      distinct_.push_back(first);
      for (const Keyed& other : group.subspan(1)) {
        sets_.join(first, other.second);
        found_.push_back({first, other.second, 1.0});
      }
    });
  }

  void search_band(std::size_t band) {
    poll_();
    std::vector<Keyed> keyed;
    keyed.reserve(distinct_.size());
    for (const std::uint32_t i : distinct_) keyed.emplace_back(keys(i)[band], i);
    for_each_group(keyed, [this, band](std::span<const Keyed> bucket) { search_bucket(bucket, band); });
  }

  void search_bucket(std::span<const Keyed> bucket, std::size_t band) {
    for (std::size_t i = 0; i + 1 < bucket.size(); ++i) {
      bool all_connected = true;
      for (const Keyed& other : bucket.subspan(i + 1)) {
        const std::uint32_t first = bucket[i].second;
        const std::uint32_t second = other.second;
        if (sets_.find(first) == sets_.find(second)) continue;
        all_connected = false;
        if (met_before(first, second, band)) continue;
        batch_.push_back({first, second, 0});
        if (batch_.size() == kPairsPerBatch) flush();
      }
      if (all_connected) return;  // then so are all the pairs that are left
    }
  }

  bool met_before(std::uint32_t first, std::uint32_t second, std::size_t band) const {
    const std::uint64_t* a = keys(first);
    const std::uint64_t* b = keys(second);
    for (std::size_t i = 0; i < band; ++i) {
      if (a[i] == b[i]) return true;
    }
    return false;
  }

  const std::uint64_t* keys(std::uint32_t document) const {
    return index_.band_keys_.data() + document * index_.banding_.bands;
  }

  void flush() {
    poll_();
    std::vector<Document*> unsorted;
    for (const DuplicatePair& pair : batch_) {
      for (const std::uint32_t i : {pair.first, pair.second}) {
        Document& document = index_.documents_[i];
        if (!std::exchange(document.is_set, true)) unsorted.push_back(&document);
      }
    }
    pool_.run(unsorted.size(), kPairsPerTask, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) make_set(unsorted[i]->shingles);
    });
    pool_.run(batch_.size(), kPairsPerTask, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        DuplicatePair& pair = batch_[i];
        pair.jaccard = jaccard(index_.documents_[pair.first].shingles,
                               index_.documents_[pair.second].shingles, index_.threshold_);
      }
    });
    for (const DuplicatePair& pair : batch_) {
      if (pair.jaccard >= index_.threshold_ && sets_.join(pair.first, pair.second)) found_.push_back(pair);
    }
    batch_.clear();
  }

  DuplicateIndex& index_;
  ThreadPool& pool_;
  const std::function<void()>& poll_;
  UnionFind sets_;
  std::vector<std::uint32_t> distinct_;  // one document of each group of identical ones
  std::vector<DuplicatePair> batch_;
  std::vector<DuplicatePair> found_;
};

std::vector<DuplicatePair> DuplicateIndex::pairs(ThreadPool& pool, const std::function<void()>& poll) {
  return Search(*this, pool, poll).run();
}

std::vector<std::int64_t> clusters(std::size_t count, std::span<const std::int64_t> first,
                                   std::span<const std::int64_t> second) {
  if (first.size() != second.size()) {
    throw_usage("[clusters] expected as many first as second documents, but got " +
                std::to_string(first.size()) + " and " + std::to_string(second.size()));
  }
  UnionFind sets(count);
  for (std::size_t i = 0; i < first.size(); ++i) {
    for (const std::int64_t document : {first[i], second[i]}) {
      if (document < 0 || static_cast<std::size_t>(document) >= count) {
        throw_usage("[clusters] expected documents from 0 to " + std::to_string(count) + ", but got " +
                    std::to_string(document));
      }
    }
    sets.join(static_cast<std::uint32_t>(first[i]), static_cast<std::uint32_t>(second[i]));
  }
  std::vector<std::int64_t> roots(count);
  for (std::size_t i = 0; i < count; ++i) roots[i] = sets.find(static_cast<std::uint32_t>(i));
  return roots;
}

}  // namespace castline::text
