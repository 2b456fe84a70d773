#include <atomic>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "base/crc32.hpp"
#include "base/error.hpp"
#include "base/json.hpp"
#include "base/parallel.hpp"
#include "base/sha256.hpp"
#include "check.hpp"

using castline::ThreadPool;
namespace json = castline::json;

namespace {

void test_json() {
  const auto v =
      json::parse(R"( {"a":[1,-2.5e1,true,null,"\u00e9\ud83d\ude00\n"],"big":9223372036854775808} )", "t");
  const auto& a = v.at("a", "t").as_array("t");
  CHECK(a.size() == 5);
  CHECK(a[0].is_integer() && a[0].as_integer("t") == 1);
  CHECK(a[1].as_number("t") == -25.0);
  CHECK(a[2].as_bool("t"));
  CHECK(a[3].is_null());
  CHECK(a[4].as_string("t") == "\xC3\xA9\xF0\x9F\x98\x80\n");
  CHECK(!v.at("big", "t").is_integer() && v.at("big", "t").as_number("t") > 9e18);
  CHECK(json::parse(R"("\ud800x")", "t").as_string("t") == "\xEF\xBF\xBDx");
  for (const char* bad :
       {"", "{", "[1,]", "{\"a\" 1}", "01", "1.", "nul", "\"\x01\"", "\"\\x\"", "[1] 2", "-", "1e999"}) {
    CHECK_THROWS(json::parse(bad, "t"), "[t]");
  }
  CHECK_THROWS(json::parse(std::string(100000, '['), "t"), "256 levels");
  CHECK_THROWS(v.at("missing", "file.json"), "'missing'");
  CHECK_THROWS(v.at("a", "file.json").as_string("file.json"), "expected a string");
}

void test_crc32() {
  // The check value of the catalogue of parametrised CRC algorithms.
  CHECK(castline::crc32(std::as_bytes(std::span("123456789", 9))) == 0xCBF43926U);
  CHECK(castline::crc32({}) == 0);
}

void test_sha256() {
  // FIPS 180-4 examples, as published by NIST.
  auto hash = [](std::string_view s) {
    return castline::sha256_hex(std::as_bytes(std::span(s.data(), s.size())));
  };
  CHECK(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(hash(std::string(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

void test_parallel() {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{1000}}) {
      for (int round = 0; round < 20; ++round) {
        std::vector<int> seen(count, 0);
        pool.run(count, 3, [&](std::size_t begin, std::size_t end) {
          for (std::size_t i = begin; i < end; ++i) ++seen[i];
        });
        CHECK(std::accumulate(seen.begin(), seen.end(), std::size_t{0}) == count);
      }
    }
    CHECK_THROWS(pool.run(100, 1, [](std::size_t, std::size_t) { castline::throw_usage("[x] boom"); }),
                 "boom");
    std::atomic<int> after{0};
    pool.run(10, 1, [&](std::size_t b, std::size_t e) { after += static_cast<int>(e - b); });
    CHECK(after == 10);
  }
}

}  // namespace

int main() {
  test_json();
  test_crc32();
  test_sha256();
  test_parallel();
  return castline::test::finish();
}
