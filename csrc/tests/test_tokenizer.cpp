// The tokenizer without Python: what it promises by itself, and files and texts made to break it.
// That its ids are those of Hugging Face tokenizers is tested in tests/csrc/test_tokenizer*.py.
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "check.hpp"
#include "tokenizer/tokenizer.hpp"

using castline::StreamDecoder;
using castline::Tokenizer;

namespace {

std::string quoted(const std::string& token) {
  return token == "\"" || token == "\\" ? "\"\\" + token + "\"" : "\"" + token + "\"";
}

/// The byte alphabet with ids 0 to 255, then "th" and "the", then the added tokens <s> and é中, written
/// decomposed.
std::string sample_json() {
  std::vector<std::string> alphabet(256);
  char32_t shifted = 0x100;
  for (char32_t b = 0; b < 256; ++b) {
    const bool printable = (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD);
    castline::utf8::append(printable ? b : shifted++, alphabet[b]);
  }
  std::string vocabulary;
  for (std::size_t b = 0; b < 256; ++b) vocabulary += quoted(alphabet[b]) + ":" + std::to_string(b) + ",";
  return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[
      {"id":258,"content":"<s>","single_word":false,"lstrip":true,"rstrip":false,"normalized":false,"special":true},
      {"id":259,"content":"e\u0301\u4e2d","single_word":true,"lstrip":false,"rstrip":true,"normalized":true,"special":false}],
    "normalizer":{"type":"NFC"},
    "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},
      {"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]},
    "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
      {"Sequence":{"id":"A","type_id":0}}],"special_tokens":{"<s>":{"id":"<s>","ids":[258],"tokens":["<s>"]}}},
    "decoder":{"type":"ByteLevel"},
    "model":{"type":"BPE","dropout":null,"unk_token":null,"fuse_unk":false,"ignore_merges":false,"vocab":{)" +
         vocabulary + R"("th":256,"the":257},"merges":[["t","h"],"th e"]}})";
}

std::vector<std::uint32_t> encode(const Tokenizer& tokenizer, std::string_view text,
                                  bool add_special = false) {
  std::vector<std::uint32_t> ids;
  tokenizer.encode(text, ids, add_special);
  return ids;
}

void test_utf8() {
  // The example of Table 3-8 of the Unicode standard: each maximal part gives one U+FFFD.
  std::string out;
  castline::utf8::append_replacing("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", true, out);
  CHECK(out ==
        "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
        "b\xEF\xBF\xBD"
        "c\xEF\xBF\xBD\xEF\xBF\xBD"
        "d");
  CHECK(castline::utf8::valid_prefix("0123456789\xED\xA0\x80") == 10);  // a surrogate
  CHECK(castline::utf8::valid_prefix("\xF4\x8F\xBF\xBF") == 4);
  CHECK(castline::utf8::valid_prefix("\xF4\x90\x80\x80") == 0);  // beyond U+10FFFF
  CHECK(castline::utf8::valid_prefix("\xC0\x80") == 0);          // overlong
}

void test_encoding(const Tokenizer& tokenizer) {
  using Ids = std::vector<std::uint32_t>;
  CHECK(encode(tokenizer, "").empty());
  CHECK(encode(tokenizer, "", true) == Ids{258});
  CHECK(encode(tokenizer, "the 12", true) == (Ids{258, 257, ' ', '1', '2'}));
  CHECK(encode(tokenizer, "th  <s>the") == (Ids{256, 258, 257}));
  CHECK(encode(tokenizer, "\xFF") == (Ids{0xEF, 0xBF, 0xBD}));
  CHECK(encode(tokenizer, "e\xCC\x81\xE4\xB8\xAD  x") ==
        (Ids{259, 'x'}));  // rstrip; found in normalised text
  CHECK(encode(tokenizer, "e\xCC\x81x") == (Ids{0xC3, 0xA9, 'x'}));
  CHECK(tokenizer.vocab_size() == 260);
  CHECK(tokenizer.token_id("the") == 257U && tokenizer.token_id("\xC4\xA0") == 0x20U &&
        !tokenizer.token_id("thx"));
  CHECK(tokenizer.is_special(258) && !tokenizer.is_special(257));
  CHECK_THROWS(tokenizer.token_bytes(260), "260");
}

void test_decoding(const Tokenizer& tokenizer) {
  const std::vector<std::uint32_t> ids{258, 257, 0xE4, 0xB8};  // ends within a character
  CHECK(tokenizer.decode(ids) == "<s>the\xE4\xB8");
  CHECK(tokenizer.decode(ids, true) == "the\xE4\xB8");
  StreamDecoder stream(tokenizer, true);
  CHECK(stream.push(258).empty());
  CHECK(stream.push(0xE4).empty());
  CHECK(stream.push(0xB8).empty());
  CHECK(stream.push(0xAD) == "\xE4\xB8\xAD");
  CHECK(stream.push(0xE4).empty());
  CHECK(stream.push('x') == "\xEF\xBF\xBDx");
  CHECK(stream.push(0xF0).empty());
  CHECK(stream.finish() == "\xEF\xBF\xBD");
  CHECK(stream.finish().empty());
}

/// Random bytes, mostly of a kind that something here looks at.
std::string random_text(std::mt19937_64& random, std::size_t longest) {
  static constexpr std::string_view kParts[] = {
      " ",  "\n", "the", "'s",       "<s>", "1",    "\xE4\xB8\xAD", "e\xCC\x81",
      "\t", "!",  "th",  "\xC3\xA9", "<",   "\xFF", "\xE1\x84\x80", "\xE1\x85\xA1"};
  std::string text;
  while (text.size() < random() % longest) {
    if (random() % 4 == 0) {
      text += static_cast<char>(random());
    } else {
      text += kParts[random() % std::size(kParts)];
    }
  }
  return text;
}

void test_any_bytes(const Tokenizer& tokenizer) {
  std::mt19937_64 random(1);
  std::vector<std::vector<char>> texts;  // exactly their bytes: a sanitizer sees one read too many
  for (int i = 0; i < 3000; ++i) {
    const std::string text = random_text(random, 400);
    texts.emplace_back(text.begin(), text.end());
  }
  std::vector<std::string_view> views;
  for (const auto& text : texts) views.emplace_back(text.data(), text.size());
  const auto once = tokenizer.encode_batch(views, 1);
  for (const int threads : {2, 5}) CHECK(tokenizer.encode_batch(views, threads) == once);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    StreamDecoder stream(tokenizer);
    std::string streamed;
    for (const std::uint32_t id : once[i]) streamed += stream.push(id);
    streamed += stream.finish();
    CHECK(streamed == tokenizer.decode(once[i]));  // ids of well-formed text decode to well-formed text
    CHECK(castline::utf8::valid_prefix(streamed) == streamed.size());
  }
}

/// A file that was damaged is refused or works; the sanitizers see to the rest.
bool survives(const std::string& json) {
  try {
    const std::vector<char> file(json.begin(), json.end());
    const Tokenizer tokenizer = Tokenizer::from_json({file.data(), file.size()});
    const auto ids = encode(tokenizer, "the <s> 12 e\xCC\x81\xE4\xB8\xAD\n it's", true);
    return tokenizer.decode(ids).size() < 1000;
  } catch (const castline::Error& error) {
    return error.kind() == castline::ErrorKind::data;
  }
}

void test_damaged_files(const std::string& json) {
  for (std::size_t length = 0; length < json.size(); length += 7) CHECK(survives(json.substr(0, length)));
  std::mt19937_64 random(2);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = json;
    for (std::uint64_t changes = 1 + random() % 3; changes > 0; --changes) {
      const std::size_t at = random() % damaged.size();
      const std::size_t length = random() % 12;
      switch (random() % 4) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:
          damaged.erase(at, length);
          break;
        case 2:  // a part of the file once more, elsewhere
          damaged.insert(at, damaged.substr(random() % damaged.size(), length));
          break;
        default:
          damaged.replace(at, 1, std::to_string(static_cast<std::int64_t>(random() >> (random() % 64))));
      }
    }
    CHECK(survives(damaged));
  }
}

}  // namespace

int main() {
  const std::string json = sample_json();
  const Tokenizer tokenizer = Tokenizer::from_json(json);
  test_utf8();
  test_encoding(tokenizer);
  test_decoding(tokenizer);
  test_any_bytes(tokenizer);
  test_damaged_files(json);
  return castline::test::finish();
}
