// Byte-level BPE as Hugging Face's tokenizer.json describes it, giving the ids that `tokenizers` gives.
//
// The same compiled encoder serves the corpus (training) and the runtime (deployment). A component of
// the file that is not known here is an error that names it: ids are never silently different.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace castline {

/// An immutable tokenizer. Every const member may be called from several threads at once.
class Tokenizer {
 public:
  /// Reads the text of a tokenizer.json. Throws a data error that names the offending member, or the
  /// unsupported component.
  static Tokenizer from_json(std::string_view json);
  /// Reads the tokenizer.json at `path`. Throws also a device error when it cannot be opened.
  static Tokenizer from_file(const std::string& path);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Appends the ids of `text` to `ids`. Bytes that are not UTF-8 are read as U+FFFD, one per maximal
  /// ill-formed part, just as Python's `bytes.decode("utf-8", "replace")` reads them.
  /// `add_special` adds what the post-processor adds around a single text (BOS, EOS).
  void encode(std::string_view text, std::vector<std::uint32_t>& ids, bool add_special = false) const;

  /// The ids of every text, in order. `threads` 0 means one per processor; the result does not depend on it.
  std::vector<std::vector<std::uint32_t>> encode_batch(std::span<const std::string_view> texts, int threads,
                                                       bool add_special = false) const;

  /// The bytes of the tokens put together: UTF-8 where the ids came from UTF-8, but a cut sequence may
  /// begin or end inside a character. Throws a usage error for an id that is not in the vocabulary.
  std::string decode(std::span<const std::uint32_t> ids, bool skip_special = false) const;

  /// The pieces that the pre-tokenizer cuts `text` into, for looking at: each is encoded by itself. Added
  /// tokens are not looked for.
  std::vector<std::string> pre_tokenize(std::string_view text) const;

  /// One more than the largest id; ids between may be unused.
  std::uint32_t vocab_size() const;
  /// The bytes that `id` stands for. Throws a usage error for an unused id.
  std::string_view token_bytes(std::uint32_t id) const;
  /// True for an added token marked special (`<|endoftext|>` and its like).
  bool is_special(std::uint32_t id) const;
  /// The id of a token as tokenizer.json writes it ("Ġthe", "<|endoftext|>"), if there is one.
  std::optional<std::uint32_t> token_id(std::string_view token) const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Turns a stream of ids into text, piece by piece, each piece whole UTF-8 characters. Put together the
/// pieces are the decoded bytes with U+FFFD for whatever is not UTF-8. The tokenizer must outlive it.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = false)
      : tokenizer_(&tokenizer), skip_special_(skip_special) {}

  /// The text that `id` completes; empty while a character is unfinished.
  std::string push(std::uint32_t id);
  /// The end of the stream: U+FFFD for an unfinished character, else nothing. The decoder starts afresh.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string pending_;  // the bytes of a character that may still become whole, at most 3
};

}  // namespace castline
