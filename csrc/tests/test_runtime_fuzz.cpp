// Damaged packages: thousands of deterministic mutations of the two files that the runtime parses. Each is
// refused with a castline::Error, or runs; under the sanitizers nothing reads outside the file.
#include <cstdio>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "check.hpp"
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

}  // namespace

int main() {
  test_safetensors();
  test_manifest();
  return finish();
}
