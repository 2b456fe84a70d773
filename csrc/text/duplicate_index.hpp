// What a search for duplicates needs of documents, on disk: hashes of their content, the keys of their
// MinHash bands, and their shingle sets.
//
// A file holds 64-bit little-endian words:
//   header    magic, documents, permutations, bands, rows, shingles; a checksum of every column; a checksum
//   of
//             all this
//   columns   a value per document:
//               content   two words: content_hash, or {0, 0} where it is not known
//               set       two words: a hash of the shingle set, {0, 0} for the empty one
//               sizes     the number of shingles in the set
//               bands     one column each: the band's key, 0 for the empty set
//   shingles  the sets of all documents one after the other, each sorted
//   ends      where each set ends in them
//
// A column is read whole and compared with its checksum, a set with its hash: no damage goes unnoticed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/parallel.hpp"
#include "text/hash.hpp"
#include "text/minhash.hpp"
#include "text/tokens.hpp"

namespace castline::text {

/// What the header says.
struct IndexShape {
  std::uint64_t documents = 0;
  std::uint64_t permutations = 0;
  Banding banding;  ///< of no bands: for exact duplicates only
  std::uint64_t shingles = 0;

  std::size_t columns() const { return 3 + banding.bands; }
  std::size_t header_words() const { return 6 + columns() + 1; }
  /// The column's first word in the file.
  std::size_t column_at(std::size_t column) const;
  std::size_t shingles_at() const { return column_at(columns()); }
  std::size_t words() const { return shingles_at() + shingles + documents; }
};

constexpr std::size_t kContentColumn = 0;
constexpr std::size_t kSetColumn = 1;
constexpr std::size_t kSizeColumn = 2;
constexpr std::size_t kFirstBandColumn = 3;

/// A hash of a sorted set of shingles; {0, 0} for the empty one only.
Hash128 set_hash(std::span<const std::uint64_t> set);

/// Collects documents for one index file.
class IndexBuilder {
 public:
  /// Without permutations the index serves exact duplicates only.
  IndexBuilder(std::size_t permutations, const Banding& banding);

  std::size_t size() const { return contents_.size(); }
  const Banding& banding() const { return banding_; }

  /// Adds documents in order. `contents` has a hash for each, or is empty where they are not known.
  void add(std::span<const std::string_view> texts, TextKind kind, std::span<const Hash128> contents,
           ThreadPool& pool);

  /// The size of the file in 64-bit words.
  std::size_t words() const { return shape().words(); }
  /// Writes the file; `out` has words() words.
  void write(std::span<std::uint64_t> out) const;

 private:
  IndexShape shape() const;

  std::size_t permutations_;
  Banding banding_;
  std::vector<Hash128> contents_;
  std::vector<Hash128> sets_;
  std::vector<std::uint64_t> band_keys_;  // [document][band]
  std::vector<std::uint64_t> ends_;
  std::vector<std::uint64_t> shingles_;
};

/// An index file. Opening one reads its header; everything else is read when it is asked for, so nothing of
/// it stays in memory. Throws a device error where the file cannot be read, a data error where it is damaged.
class IndexFile {
 public:
  explicit IndexFile(std::string path);

  const IndexShape& shape() const { return shape_; }
  const std::string& path() const { return path_; }

  /// Reads a column of one or two words per document.
  void read_column(std::size_t column, std::vector<std::uint64_t>& words) const;
  void read_column(std::size_t column, std::vector<Hash128>& hashes) const;

  /// Reads the sets of some documents; calls use(i, set) for documents[i] in turn.
  template <class Use>
  void read_sets(std::span<const std::uint64_t> documents, Use&& use) const {
    const Reader reader(path_);
    for (std::size_t i = 0; i < documents.size(); ++i) use(i, read_set(reader, documents[i]));
  }

 private:
  /// The open file.
  class Reader {
   public:
    explicit Reader(const std::string& path);
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    ~Reader();

    std::uint64_t bytes() const;
    /// Fills `out` from the byte `8 * word` on. Throws a data error where the file ends before.
    void read(std::size_t word, void* out, std::size_t bytes) const;

   private:
    const std::string& path_;
    int descriptor_;
  };

  std::vector<std::uint64_t> read_set(const Reader& reader, std::uint64_t document) const;
  void read_checked(std::size_t column, void* out, std::size_t bytes) const;
  [[noreturn]] void damaged(const std::string& what) const;

  std::string path_;
  IndexShape shape_;
  std::vector<std::uint64_t> checksums_;  // of the columns
};

}  // namespace castline::text
