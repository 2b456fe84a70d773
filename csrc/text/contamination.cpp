#include "text/contamination.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <string>

#include "base/error.hpp"
#include "text/hash.hpp"

namespace castline::text {
namespace {

constexpr std::uint64_t kBase = 0x9E3779B97F4A7C15u;  // arbitrary, odd
constexpr std::uint64_t kSeed = 0x636F6E74616D31u;
constexpr std::size_t kFilterBits = 16;  // per n-gram

// Calls use(place, hash) for every n-gram of `length` words: a polynomial in the words' hashes, modulo 2^64.
template <class Use>
void for_each_ngram(const std::vector<std::uint64_t>& words, std::size_t length, Use&& use) {
  if (words.size() < length) return;
  std::uint64_t polynomial = 0;
  std::uint64_t leaving = 1;  // kBase to the power of length
  for (std::size_t i = 0; i < length; ++i) {
    polynomial = polynomial * kBase + words[i];
    leaving *= kBase;
  }
  for (std::size_t i = 0;; ++i) {
    use(i, hash_pair(polynomial, kSeed + length));
    if (i + length == words.size()) return;
    polynomial = polynomial * kBase + words[i + length] - leaving * words[i];
  }
}

}  // namespace

ContaminationIndex::ContaminationIndex(std::span<const std::string_view> texts,
                                       std::span<const std::int64_t> records, std::size_t ngram,
                                       std::size_t least) {
  if (least < 1 || least > ngram) {
    throw_usage("[contamination] expected 1 <= least <= ngram, but got least " + std::to_string(least) +
                " and ngram " + std::to_string(ngram));
  }
  if (texts.size() != records.size()) {
    throw_usage("[contamination] expected a record for each of " + std::to_string(texts.size()) +
                " texts, but got " + std::to_string(records.size()));
  }
  Shingler shingler;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto record = static_cast<std::size_t>(records[i]);
    if (record_ngrams_.size() <= record) record_ngrams_.resize(record + 1);
    const std::vector<std::uint64_t>& words = shingler.words(texts[i]);
    if (words.size() < least) continue;
    const std::size_t length = std::min(words.size(), ngram);
    lengths_.push_back(length);
    for_each_ngram(words, length,
                   [&](std::size_t, std::uint64_t hash) { entries_.push_back({hash, records[i]}); });
  }
  std::sort(lengths_.begin(), lengths_.end());
  lengths_.erase(std::unique(lengths_.begin(), lengths_.end()), lengths_.end());
  std::sort(entries_.begin(), entries_.end());
  entries_.erase(std::unique(entries_.begin(), entries_.end()), entries_.end());
  const std::size_t bits = std::bit_ceil(std::max<std::size_t>(kFilterBits * entries_.size(), 64));
  shift_ = 64 - static_cast<unsigned>(std::countr_zero(bits));
  filter_.assign(bits / 64, 0);
  for (const Entry& entry : entries_) {
    filter_[entry.hash >> shift_ >> 6] |= std::uint64_t{1} << (entry.hash >> shift_ & 63);
    ++record_ngrams_[static_cast<std::size_t>(entry.record)];
  }
}

ContaminationIndex::Overlap ContaminationIndex::operator()(std::string_view text, Shingler& shingler) const {
  const std::vector<std::uint64_t>& words = shingler.words(text);
  std::vector<std::uint64_t> hashes;
  std::vector<std::size_t> places;
  for (const std::size_t length : lengths_) {
    for_each_ngram(words, length, [&](std::size_t place, std::uint64_t hash) {
      if (!may_hold(hash)) return;
      const auto found = std::lower_bound(entries_.begin(), entries_.end(), Entry{hash, 0});
      if (found == entries_.end() || found->hash != hash) return;
      hashes.push_back(hash);
      places.push_back(place);
    });
  }
  Overlap overlap;
  if (hashes.empty()) return overlap;
  std::sort(places.begin(), places.end());
  overlap.ngrams = std::unique(places.begin(), places.end()) - places.begin();
  make_set(hashes);
  std::map<std::int64_t, std::int64_t> shared;
  for (const std::uint64_t hash : hashes) {
    auto entry = std::lower_bound(entries_.begin(), entries_.end(), Entry{hash, 0});
    for (; entry != entries_.end() && entry->hash == hash; ++entry) ++shared[entry->record];
  }
  for (const auto& [record, count] : shared) {
    if (count > overlap.shared) {
      overlap.record = record;
      overlap.shared = count;
    }
  }
  return overlap;
}

}  // namespace castline::text
