// Duplicates on disk: every way to divide the documents and the work gives the same result, and damaged files
// are refused. Under the sanitizers nothing reads outside of them.
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "check.hpp"
#include "text/duplicate_index.hpp"
#include "text/duplicates.hpp"
#include "text/shingles.hpp"

using namespace castline;
using namespace castline::text;

namespace {

constexpr double kThreshold = 0.5;

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "castline-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }

  std::string write(const std::string& name, const std::vector<std::uint64_t>& words,
                    std::size_t bytes) const {
    const std::string path = (path_ / name).string();
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(words.data()), static_cast<std::streamsize>(bytes));
    return path;
  }

 private:
  std::filesystem::path path_;
};

/// Families of texts that differ in a few words, some of them the same, some empty, some random bytes.
std::vector<std::string> make_texts(std::size_t count, std::mt19937& engine) {
  std::vector<std::string> texts;
  std::string family;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 7 == 0) {
      family.clear();
      for (std::uint32_t n = engine() % 60; n > 0; --n) family += "w" + std::to_string(engine() % 900) + ' ';
    }
    std::string text = family;
    for (std::uint32_t n = engine() % 3; n > 0 && !text.empty(); --n) text[engine() % text.size()] = 'x';
    if (i % 11 == 0) {
      for (char& c : text) c = static_cast<char>(engine());
    }
    texts.push_back(text);
  }
  std::shuffle(texts.begin(), texts.end(), engine);
  return texts;
}

std::vector<std::uint64_t> make_index(const std::vector<std::string>& texts, std::size_t begin,
                                      std::size_t end, int threads, std::size_t permutations = 64) {
  ThreadPool pool(threads);
  IndexBuilder builder(permutations, choose_bands(kThreshold, permutations, 0.9));
  std::vector<std::string_view> views(texts.begin() + static_cast<std::ptrdiff_t>(begin),
                                      texts.begin() + static_cast<std::ptrdiff_t>(end));
  std::vector<Hash128> hashes;
  for (const std::string_view text : views) hashes.push_back(content_hash(text));
  const std::size_t half = views.size() / 2;
  builder.add(std::span(views).first(half), TextKind::text, std::span(hashes).first(half), pool);
  builder.add(std::span(views).subspan(half), TextKind::text, std::span(hashes).subspan(half), pool);
  std::vector<std::uint64_t> words(builder.words());
  builder.write(words);
  return words;
}

bool same(const Duplicates& a, const Duplicates& b) {
  return a.clusters == b.clusters && a.pairs.size() == b.pairs.size() &&
         std::memcmp(a.pairs.data(), b.pairs.data(), a.pairs.size() * sizeof a.pairs[0]) == 0;
}

Duplicates search(const std::vector<std::string>& files, std::size_t memory = std::size_t{1} << 24,
                  int threads = 1, const std::vector<std::uint32_t>& known = {}) {
  ThreadPool pool(threads);
  return find_duplicates(files, known, {kThreshold, true, memory}, pool);
}

double brute_force(const std::string& a, const std::string& b) {
  Shingler shingler;
  std::vector<std::uint64_t> x = shingler(a, TextKind::text);
  std::vector<std::uint64_t> y = shingler(b, TextKind::text);
  make_set(x);
  make_set(y);
  std::vector<std::uint64_t> common;
  std::set_intersection(x.begin(), x.end(), y.begin(), y.end(), std::back_inserter(common));
  return static_cast<double>(common.size()) / static_cast<double>(x.size() + y.size() - common.size());
}

void test_any_division_gives_the_same() {
  std::mt19937 engine(1);
  for (int round = 0; round < 8; ++round) {
    const Folder folder;
    const std::vector<std::string> texts = make_texts(50 + engine() % 500, engine);
    const std::vector<std::uint64_t> whole = make_index(texts, 0, texts.size(), 1);
    const Duplicates expected = search({folder.write("whole", whole, whole.size() * 8)});
    CHECK(expected.pairs.size() > 10);
    for (const DuplicatePair& pair : expected.pairs) {
      const double similarity = brute_force(texts[pair.first], texts[pair.second]);
      CHECK(texts[pair.first] == texts[pair.second] || similarity == pair.jaccard);
      CHECK(pair.jaccard >= kThreshold);
    }
    std::vector<std::string> files;
    for (std::size_t begin = 0; begin < texts.size() || files.empty();) {
      const std::size_t end = std::min<std::size_t>(texts.size(), begin + engine() % 200);
      const std::vector<std::uint64_t> words = make_index(texts, begin, end, 1 + round % 3);
      files.push_back(folder.write(std::to_string(files.size()), words, words.size() * 8));
      begin = end;
    }
    for (const std::size_t memory : {std::size_t{0}, std::size_t{5'000}, std::size_t{100'000}}) {
      CHECK(same(search(files, memory, 1 + round % 2), expected));
    }
  }
}

// What was found among earlier documents, and pairs with later ones, connect the same as one search of all.
void test_later_documents_against_earlier_ones() {
  std::mt19937 engine(2);
  for (int round = 0; round < 8; ++round) {
    const Folder folder;
    const std::vector<std::string> texts = make_texts(50 + engine() % 500, engine);
    const std::size_t middle = engine() % texts.size();
    const std::vector<std::uint64_t> before = make_index(texts, 0, middle, 1);
    const std::vector<std::uint64_t> after = make_index(texts, middle, texts.size(), 1);
    const std::string first = folder.write("before", before, before.size() * 8);
    const std::string second = folder.write("after", after, after.size() * 8);
    const Duplicates later = search({first, second}, 1 << 20, 2, search({first}).clusters);
    CHECK(later.clusters == search({first, second}).clusters);
    for (const DuplicatePair& pair : later.pairs) CHECK(pair.second >= middle);
  }
}

// A changed byte, or a cut, is refused or lies where nothing looked: the result is never another one.
void test_damage() {
  std::mt19937 engine(3);
  const Folder folder;
  const std::vector<std::string> texts = make_texts(60, engine);
  const std::vector<std::uint64_t> whole = make_index(texts, 0, texts.size(), 1, 16);
  const std::string path = folder.write("whole", whole, whole.size() * 8);
  const Duplicates expected = search({path});
  const std::size_t header_words = IndexFile(path).shape().header_words();
  int refused = 0;
  for (int round = 0; round < 1000; ++round) {
    std::vector<std::uint64_t> words = whole;
    std::size_t bytes = words.size() * 8;
    if (round % 8 == 0) {
      bytes = engine() % bytes;
    } else {
      const std::size_t limit = round % 2 == 0 ? bytes : header_words * 8;
      reinterpret_cast<unsigned char*>(words.data())[engine() % limit] ^=
          static_cast<unsigned char>(1 + engine() % 255);
    }
    try {
      CHECK(same(search({folder.write("damaged", words, bytes)}), expected));
    } catch (const Error& error) {
      ++refused;
      CHECK(error.kind() == ErrorKind::data);
    }
  }
  std::printf("index files: %d of 1000 refused\n", refused);
  CHECK(refused > 500);
}

void test_misuse() {
  std::mt19937 engine(4);
  const Folder folder;
  const std::vector<std::string> texts = make_texts(20, engine);
  const auto write = [&](const char* name, std::size_t permutations) {
    const std::vector<std::uint64_t> words = make_index(texts, 0, texts.size(), 1, permutations);
    return folder.write(name, words, words.size() * 8);
  };
  const std::string path = write("one", 64);
  CHECK_THROWS(search({path, write("other", 16)}), "build both corpora with the same [dedup]");
  CHECK_THROWS(search({path}, 0, 1, std::vector<std::uint32_t>(21)), "at most 20 documents, but got 21");
  CHECK_THROWS(search({path}, 0, 1, {0, 2}), "document 1 to begin before it, but got 2");
  CHECK_THROWS(search({path + "-"}), "expected a readable file");
  CHECK_THROWS(IndexBuilder(8, {3, 3}), "bands times rows, 9, but got 8");
  CHECK(search({}).clusters.empty());
}

}  // namespace

int main() {
  test_any_division_gives_the_same();
  test_later_documents_against_earlier_ones();
  test_damage();
  test_misuse();
  return castline::test::finish();
}
