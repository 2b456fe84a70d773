#include "text/duplicate_index.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "base/error.hpp"
#include "text/shingles.hpp"

namespace castline::text {
namespace {

constexpr std::size_t kDocumentsPerTask = 32;
constexpr std::uint64_t kMagic = 0x3130787064747363u;  // "cstdpx01"
constexpr std::size_t kMostBands = 4096;

std::string_view as_bytes(const auto* data, std::size_t count) {
  return {reinterpret_cast<const char*>(data), count * sizeof *data};
}

/// How many words of a column belong to each document.
std::size_t column_width(std::size_t column) { return column < kSizeColumn ? 2 : 1; }

}  // namespace

std::size_t IndexShape::column_at(std::size_t column) const {
  const std::size_t before = std::min(column, kSizeColumn) + column;  // the first two are twice as wide
  return header_words() + before * documents;
}

Hash128 set_hash(std::span<const std::uint64_t> set) {
  if (set.empty()) return {};
  const std::string_view bytes = as_bytes(set.data(), set.size());
  return {hash_bytes(bytes, 1) | 1u, hash_bytes(bytes, 2)};
}

IndexBuilder::IndexBuilder(std::size_t permutations, const Banding& banding)
    : permutations_(permutations), banding_(banding) {
  if (banding.bands * banding.rows > permutations) {
    throw_usage("[duplicates] expected at least as many permutations as bands times rows, " +
                std::to_string(banding.bands * banding.rows) + ", but got " + std::to_string(permutations));
  }
}

void IndexBuilder::add(std::span<const std::string_view> texts, TextKind kind,
                       std::span<const Hash128> contents, ThreadPool& pool) {
  if (!contents.empty() && contents.size() != texts.size()) {
    throw_usage("[duplicates] expected a content hash for each of " + std::to_string(texts.size()) +
                " texts, but got " + std::to_string(contents.size()));
  }
  const std::size_t before = size();
  contents_.insert(contents_.end(), contents.begin(), contents.end());
  contents_.resize(before + texts.size());
  sets_.resize(before + texts.size());
  band_keys_.resize((before + texts.size()) * banding_.bands);
  std::vector<std::vector<std::uint64_t>> sets(texts.size());
  if (permutations_ > 0) {
    pool.run(texts.size(), kDocumentsPerTask, [&](std::size_t begin, std::size_t end) {
      Shingler shingler;
      MinHasher hasher(permutations_);
      std::vector<std::uint32_t> signature(permutations_);
      for (std::size_t i = begin; i < end; ++i) {
        const std::vector<std::uint64_t>& shingles = shingler(texts[i], kind);
        if (shingles.empty()) continue;
        hasher(shingles, signature);
        sets[i] = shingles;
        make_set(sets[i]);
        sets_[before + i] = set_hash(sets[i]);
        std::uint64_t* keys = band_keys_.data() + (before + i) * banding_.bands;
        for (std::size_t band = 0; band < banding_.bands; ++band) {
          const std::uint32_t* rows = signature.data() + band * banding_.rows;
          keys[band] = std::max<std::uint64_t>(hash_bytes(as_bytes(rows, banding_.rows), band), 1);
        }
      }
    });
  }
  for (const std::vector<std::uint64_t>& set : sets) {
    shingles_.insert(shingles_.end(), set.begin(), set.end());
    ends_.push_back(shingles_.size());
  }
}

IndexShape IndexBuilder::shape() const { return {size(), permutations_, banding_, shingles_.size()}; }

void IndexBuilder::write(std::span<std::uint64_t> out) const {
  const IndexShape shape = this->shape();
  if (out.size() != shape.words()) {
    throw_usage("[duplicates] expected room for " + std::to_string(shape.words()) + " words, but got " +
                std::to_string(out.size()));
  }
  std::vector<std::uint64_t> header{kMagic,         shape.documents, permutations_,
                                    banding_.bands, banding_.rows,   shape.shingles};
  const auto column = [&](std::size_t number) {
    return out.subspan(shape.column_at(number), column_width(number) * size());
  };
  std::memcpy(column(kContentColumn).data(), contents_.data(), size() * sizeof(Hash128));
  std::memcpy(column(kSetColumn).data(), sets_.data(), size() * sizeof(Hash128));
  for (std::size_t i = 0; i < size(); ++i) {
    column(kSizeColumn)[i] = ends_[i] - (i == 0 ? 0 : ends_[i - 1]);
  }
  for (std::size_t band = 0; band < banding_.bands; ++band) {
    const std::span<std::uint64_t> keys = column(kFirstBandColumn + band);
    for (std::size_t i = 0; i < size(); ++i) keys[i] = band_keys_[i * banding_.bands + band];
  }
  for (std::size_t i = 0; i < shape.columns(); ++i) {
    header.push_back(hash_bytes(as_bytes(column(i).data(), column(i).size()), i));
  }
  header.push_back(hash_bytes(as_bytes(header.data(), header.size())));
  std::copy(header.begin(), header.end(), out.begin());
  std::copy(shingles_.begin(), shingles_.end(),
            out.begin() + static_cast<std::ptrdiff_t>(shape.shingles_at()));
  std::copy(ends_.begin(), ends_.end(), out.end() - static_cast<std::ptrdiff_t>(size()));
}

IndexFile::Reader::Reader(const std::string& path)
    : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) {
    throw_device("[duplicates] expected a readable file at " + path + ", but got: " + std::strerror(errno));
  }
}

IndexFile::Reader::~Reader() { ::close(descriptor_); }

std::uint64_t IndexFile::Reader::bytes() const {
  struct stat info{};
  if (::fstat(descriptor_, &info) != 0 || !S_ISREG(info.st_mode)) {
    throw_device("[duplicates] expected a regular file at " + path_ + ", but got something else");
  }
  return static_cast<std::uint64_t>(info.st_size);
}

void IndexFile::Reader::read(std::size_t word, void* out, std::size_t bytes) const {
  auto* at = static_cast<char*>(out);
  auto offset = static_cast<off_t>(word * sizeof(std::uint64_t));
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, at, bytes, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw_device("[duplicates] expected to read " + path_ + ", but got: " + std::strerror(errno));
    if (got == 0) throw_data("[duplicates] expected a whole index file, but " + path_ + " ends early");
    at += got;
    offset += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

IndexFile::IndexFile(std::string path) : path_(std::move(path)) {
  const Reader reader(path_);
  const std::uint64_t size = reader.bytes();
  std::vector<std::uint64_t> header(6);
  if (size % sizeof(std::uint64_t) != 0 || size < as_bytes(header.data(), header.size()).size()) {
    damaged("its size is " + std::to_string(size));
  }
  reader.read(0, header.data(), header.size() * sizeof(std::uint64_t));
  if (header[0] != kMagic) damaged("it is something else, or of another version");
  shape_ = {header[1], header[2], {header[3], header[4]}, header[5]};
  // Sizes that could not be are refused before anything is computed from them.
  const std::uint64_t words = size / sizeof(std::uint64_t);
  if (shape_.documents > std::min<std::uint64_t>(words, std::numeric_limits<std::uint32_t>::max()) ||
      shape_.shingles > words || shape_.banding.bands > kMostBands || shape_.banding.rows > kMostBands ||
      shape_.words() != words) {
    damaged("its header does not fit its size, " + std::to_string(size));
  }
  header.resize(shape_.header_words());
  reader.read(0, header.data(), header.size() * sizeof(std::uint64_t));
  if (header.back() != hash_bytes(as_bytes(header.data(), header.size() - 1)))
    damaged("its header does not agree with its checksum");
  checksums_.assign(header.begin() + 6, header.end() - 1);
}

void IndexFile::read_column(std::size_t column, std::vector<std::uint64_t>& words) const {
  words.resize(shape_.documents);
  read_checked(column, words.data(), words.size() * sizeof words[0]);
}

void IndexFile::read_column(std::size_t column, std::vector<Hash128>& hashes) const {
  hashes.resize(shape_.documents);
  read_checked(column, hashes.data(), hashes.size() * sizeof hashes[0]);
}

void IndexFile::read_checked(std::size_t column, void* out, std::size_t bytes) const {
  if (column >= shape_.columns() ||
      bytes != shape_.documents * column_width(column) * sizeof(std::uint64_t)) {
    throw_usage("[duplicates] expected one of " + std::to_string(shape_.columns()) + " columns, but got " +
                std::to_string(column) + " in " + std::to_string(bytes) + " bytes");
  }
  Reader(path_).read(shape_.column_at(column), out, bytes);
  if (hash_bytes({static_cast<const char*>(out), bytes}, column) != checksums_[column]) {
    damaged("its column " + std::to_string(column) + " does not agree with its checksum");
  }
}

std::vector<std::uint64_t> IndexFile::read_set(const Reader& reader, std::uint64_t document) const {
  std::uint64_t range[2] = {0, 0};
  const std::size_t ends_at = shape_.shingles_at() + shape_.shingles;
  if (document == 0) {
    reader.read(ends_at, range + 1, sizeof range[1]);
  } else {
    reader.read(ends_at + document - 1, range, sizeof range);
  }
  if (range[0] > range[1] || range[1] > shape_.shingles) damaged("a shingle set lies outside of it");
  std::vector<std::uint64_t> set(range[1] - range[0]);
  reader.read(shape_.shingles_at() + range[0], set.data(), set.size() * sizeof set[0]);
  Hash128 expected;
  reader.read(shape_.column_at(kSetColumn) + 2 * document, &expected, sizeof expected);
  if (set_hash(set) != expected) damaged("a shingle set does not agree with its hash");
  return set;
}

void IndexFile::damaged(const std::string& what) const {
  throw_data("[duplicates] expected an index of documents at " + path_ + ", but it is damaged: " + what +
             "; delete it and build that corpus again with --force");
}

}  // namespace castline::text
