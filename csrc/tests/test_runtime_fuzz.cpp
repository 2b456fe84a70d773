// Damaged packages: thousands of deterministic mutations of the two files that the runtime parses. Each is
// refused with a castline::Error, or runs; under the sanitizers nothing reads outside the file.
#include <cstdio>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "check.hpp"
#include "runtime/archive.hpp"
#include "runtime/engine.hpp"
#include "runtime/safetensors.hpp"
#include "tiny_package.hpp"

using namespace castline;
using namespace castline::test;

namespace {

// The file in memory whose end the sanitizer watches: exactly its bytes, aligned like a mapping.
struct Watched {
  explicit Watched(const std::string& bytes) : storage(bytes.begin(), bytes.end()) {}
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(storage)); }
  std::vector<char> storage;
};

void test_safetensors() {
  for (const bool int8 : {false, true}) {
    const std::string whole = tiny_weights(int8);
    std::mt19937 engine(1);
    int refused = 0;
    for (int round = 0; round < 4000; ++round) {
      const Watched file(damaged(whole, round % 2 == 0 ? 1200 : 16, engine));
      try {
        const Safetensors tensors(file.bytes(), "fuzz");
        std::size_t total = 0;
        for (const auto& [name, tensor] : tensors.tensors()) {
          for (const std::byte b : tensor.data) total += static_cast<std::size_t>(b);
        }
        CHECK(total != 1);
      } catch (const Error& error) {
        ++refused;
        CHECK(error.kind() == ErrorKind::data);
      }
    }
    std::printf("safetensors: %d of 4000 refused\n", refused);
    CHECK(refused > 2000);
    for (std::size_t n = 0; n < whole.size(); n += n < 1500 ? 1 : 97) {
      const Watched file(whole.substr(0, n));
      CHECK_THROWS(Safetensors(file.bytes(), "cut"), "[cut");
    }
  }
}

void test_manifest() {
  const std::string weights = tiny_weights();
  const std::string manifest = tiny_manifest(weights);
  const TemporaryFolder folder;
  folder.write("cpu/weights.safetensors", weights);
  std::mt19937 engine(2);
  int opened = 0;
  int refused = 0;
  const std::vector<std::uint32_t> ids = {3, 4, 5};
  for (int round = 0; round < 800; ++round) {
    folder.write("package.json", damaged(manifest, manifest.size(), engine));
    try {
      Engine damaged_engine(folder.path(), {.backend = "cpu", .threads = 1});
      std::vector<float> logits(ids.size() * damaged_engine.package().model().vocab_size);
      damaged_engine.logits(ids, logits);
      ++opened;
    } catch (const Error&) {
      ++refused;
    }
  }
  std::printf("package.json: %d opened, %d refused\n", opened, refused);
  CHECK(opened > 50);  // a changed hash or theta is for verify() to find
  CHECK(refused > 300);
}

// The directory of a package in one file, and every header: what is changed is refused, or the same package.
void test_archive() {
  const std::string weights = tiny_weights();
  const std::string manifest = tiny_manifest(weights);
  const std::string whole = tiny_archive({{"package.json", manifest}, {"cpu/weights.safetensors", weights}});
  const std::vector<ArchiveMember> members = read_archive(std::as_bytes(std::span(whole)), "whole");
  CHECK(members.size() == 2 && members[1].offset % 4096 == 0 && members[1].size == weights.size());
  const std::size_t directory = whole.rfind(std::string("PK\x01\x02", 4)) - 58;
  const auto same = [&](const std::string& bytes) {
    const Watched file(bytes);
    try {
      const std::vector<ArchiveMember> found = read_archive(file.bytes(), "fuzz");
      return found.size() == 2 && found[0].size == manifest.size() && found[1].offset == members[1].offset &&
             found[1].size == weights.size() && found[1].name == members[1].name;
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::data);
      return true;
    }
  };
  const std::size_t second = static_cast<std::size_t>(members[0].offset + members[0].size);
  const std::pair<std::size_t, std::size_t> headers[] = {
      {0, 60}, {second, second + 60}, {directory, whole.size()}};
  for (const auto& [begin, end] : headers) {
    for (std::size_t at = begin; at < end; ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string changed = whole;
        changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
        CHECK(same(changed));
      }
    }
  }
  for (std::size_t n = 0; n < whole.size(); n += n < 64 || n + 200 > whole.size() ? 1 : 97) {
    const Watched file(whole.substr(0, n));
    CHECK_THROWS(read_archive(file.bytes(), "cut"), "[cut]");
  }
  std::mt19937 engine(3);
  for (int round = 0; round < 4000; ++round) {
    std::string tail = damaged(whole.substr(directory), whole.size() - directory, engine);
    const Watched file(whole.substr(0, directory) + tail);
    try {
      for (const ArchiveMember& member : read_archive(file.bytes(), "fuzz")) {
        CHECK(member.offset + member.size <= file.bytes().size());
      }
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::data);
    }
  }
  const TemporaryFolder folder;
  folder.write("one.castline", whole);
  Engine opened(folder.path() + "/one.castline", {.backend = "cpu", .threads = 1});
  opened.package().verify();
  folder.write("more.castline", tiny_archive({{"package.json", manifest},
                                              {"cpu/weights.safetensors", weights},
                                              {"extra", "unlisted"}}));
  CHECK_THROWS(Package(folder.path() + "/more.castline"), "but got extra");
  for (const std::string name : {"../x", "/etc/x", "a/../../x", "folder/", ""}) {
    const std::string bytes = tiny_archive({{name, "x"}});
    CHECK_THROWS(read_archive(std::as_bytes(std::span(bytes)), "names"), "inside the package");
  }
  const std::string twice = tiny_archive({{"a", "x"}, {"a", "y"}});
  CHECK_THROWS(read_archive(std::as_bytes(std::span(twice)), "twice"), "found a twice");
  folder.write("none.castline", "PK\x03\x04");
  CHECK_THROWS(Package(folder.path() + "/none.castline"), "a zip archive");
  folder.write("text.castline", "no archive");
  CHECK_THROWS(Package(folder.path() + "/text.castline"), "expected a package");
}

}  // namespace

int main() {
  test_safetensors();
  test_manifest();
  test_archive();
  return finish();
}
