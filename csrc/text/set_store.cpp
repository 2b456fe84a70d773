#include "text/set_store.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.hpp"

namespace castline::text {
namespace {

constexpr std::size_t kBytesPerEntry = 96;  // of the map, beside the shingles

bool same_bands(const IndexShape& a, const IndexShape& b) {
  return a.permutations == b.permutations && a.banding.bands == b.banding.bands &&
         a.banding.rows == b.banding.rows;
}

std::string described(const IndexShape& shape) {
  return std::to_string(shape.banding.bands) + " bands of " + std::to_string(shape.banding.rows) +
         " rows of " + std::to_string(shape.permutations) + " permutations";
}

}  // namespace

SetStore::SetStore(std::span<const std::string> paths, std::size_t memory) : memory_(memory) {
  std::vector<std::uint64_t> sizes;
  for (const std::string& path : paths) {
    File file{IndexFile(path), static_cast<std::uint32_t>(sizes_.size())};
    const IndexShape& shape = file.index.shape();
    if (!files_.empty() && !same_bands(files_.front().index.shape(), shape)) {
      throw_data("[duplicates] expected an index of " + described(files_.front().index.shape()) + " as in " +
                 files_.front().index.path() + ", but " + path + " has " + described(shape) +
                 "; build both corpora with the same [dedup]");
    }
    if (sizes_.size() + shape.documents > std::numeric_limits<std::uint32_t>::max()) {
      throw_usage("[duplicates] expected at most 2^32 - 1 documents, but got more");
    }
    file.index.read_column(kSizeColumn, sizes);
    sizes_.insert(sizes_.end(), sizes.begin(), sizes.end());
    files_.push_back(std::move(file));
  }
}

std::size_t SetStore::bytes(std::uint32_t document) const {
  return sizes_[document] * sizeof(std::uint64_t) + kBytesPerEntry;
}

std::size_t SetStore::how_many_fit(std::span<const DuplicatePair> pairs) const {
  std::size_t needed = used_;
  std::size_t count = 0;
  for (const DuplicatePair& pair : pairs) {
    // A document that comes twice is counted twice: that only makes the part smaller.
    for (const std::uint32_t document : {pair.first, pair.second}) {
      if (!sets_.contains(document)) needed += bytes(document);
    }
    if (needed > memory_) break;
    ++count;
  }
  return count;
}

std::size_t SetStore::load(std::span<const DuplicatePair> pairs, ThreadPool& pool) {
  std::size_t count = how_many_fit(pairs);
  if (count < pairs.size()) {
    sets_.clear();
    used_ = 0;
    count = std::max<std::size_t>(how_many_fit(pairs), 1);
  }
  std::vector<std::uint32_t> missing;
  for (const DuplicatePair& pair : pairs.first(count)) {
    for (const std::uint32_t document : {pair.first, pair.second}) {
      if (sets_.try_emplace(document).second) missing.push_back(document);
    }
  }
  read(missing, pool);
  return count;
}

void SetStore::read(std::vector<std::uint32_t>& documents, ThreadPool& pool) {
  std::sort(documents.begin(), documents.end());
  struct Group {
    const File* file;
    std::size_t begin;
    std::size_t end;
  };
  std::vector<Group> groups;
  std::size_t begin = 0;
  for (const File& file : files_) {
    const std::uint64_t behind = file.first + file.index.shape().documents;
    std::size_t end = begin;
    while (end < documents.size() && documents[end] < behind) ++end;
    if (end > begin) groups.push_back({&file, begin, end});
    begin = end;
  }
  pool.run(groups.size(), 1, [&](std::size_t from, std::size_t to) {
    for (const Group& group : std::span(groups).subspan(from, to - from)) {
      const std::span mine = std::span(documents).subspan(group.begin, group.end - group.begin);
      std::vector<std::uint64_t> rows;
      for (const std::uint32_t document : mine) rows.push_back(document - group.file->first);
      group.file->index.read_sets(rows, [&](std::size_t i, std::vector<std::uint64_t> set) {
        if (set.size() != sizes_[mine[i]]) {
          throw_data("[duplicates] expected " + std::to_string(sizes_[mine[i]]) +
                     " shingles of a document in " + group.file->index.path() + ", but got " +
                     std::to_string(set.size()));
        }
        sets_.find(mine[i])->second = std::move(set);
      });
    }
  });
  for (const std::uint32_t document : documents) used_ += bytes(document);
}

}  // namespace castline::text
