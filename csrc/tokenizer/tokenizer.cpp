#include "tokenizer/tokenizer.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <iterator>
#include <limits>
#include <mutex>
#include <utility>

#include "base/error.hpp"
#include "base/mapped_file.hpp"
#include "base/parallel.hpp"
#include "base/utf8.hpp"
#include "tokenizer/added_tokens.hpp"
#include "tokenizer/bpe.hpp"
#include "tokenizer/nfc.hpp"
#include "tokenizer/piece_cache.hpp"
#include "tokenizer/splitter.hpp"
#include "tokenizer/tokenizer_json.hpp"

namespace castline {
namespace {

using namespace tokenizer;

/// The tokens that are pieces in themselves, whatever the merges say.
TokenIndex whole_pieces_of(const TokenizerFile& file) {
  TokenIndex pieces;
  if (!file.ignore_merges) return pieces;
  pieces.reserve(file.vocabulary.count());
  const std::vector<Token>& tokens = file.vocabulary.tokens();
  for (std::uint32_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].byte_level) pieces.add(tokens[id].bytes, id);
  }
  return pieces;
}

std::vector<AddedToken> tokens_where(const std::vector<AddedToken>& tokens, bool normalized) {
  std::vector<AddedToken> chosen;
  std::copy_if(tokens.begin(), tokens.end(), std::back_inserter(chosen),
               [normalized](const AddedToken& token) { return token.normalized == normalized; });
  return chosen;
}

/// `text`, or where it is not UTF-8 its repaired form, put into `replaced`.
std::string_view well_formed(std::string_view text, std::string& replaced) {
  if (utf8::valid_prefix(text) == text.size()) return text;
  replaced.clear();
  utf8::append_replacing(text, true, replaced);
  return replaced;
}

/// What one thread needs to encode; what it has learnt about pieces serves the next text.
struct Workspace {
  PieceCache cache;
  BpeScratch bpe;
  std::string text;        // of ill-formed input, with U+FFFD
  std::string normalized;  // in NFC
  std::vector<Segment> outer;
  std::vector<Segment> inner;
  std::deque<std::string> copies;  // of pieces that were given a space
};

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(TokenizerFile file)
      : bpe(file.vocabulary, file.merges, {file.unknown, file.fuse_unknown}),
        whole_pieces(whole_pieces_of(file)),
        raw_tokens(tokens_where(file.added_tokens, false)),
        normalized_tokens(tokens_where(file.added_tokens, true)),
        nfc(file.nfc),
        splitter(std::move(file.steps)),
        before(std::move(file.before)),
        after(std::move(file.after)),
        vocabulary(std::move(file.vocabulary)) {}

  const Token& token(std::uint32_t id) const {
    if (!vocabulary.has(id)) {
      throw_usage("[decode] expected the id of a token, below " + std::to_string(vocabulary.tokens().size()) +
                  ", but got " + std::to_string(id));
    }
    return vocabulary.tokens()[id];
  }

  void encode(std::string_view text, Workspace& workspace, std::vector<std::uint32_t>& out) const;
  void encode_segment(std::string_view text, Workspace& workspace, std::vector<std::uint32_t>& out) const;
  void encode_piece(std::string_view piece, const PieceCache::Key& key, Workspace& workspace,
                    std::vector<std::uint32_t>& out) const;

  /// Lends a workspace for the time of a call.
  template <class Body>
  void with_workspace(Body&& body) const {
    std::unique_ptr<Workspace> workspace;
    {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!idle.empty()) {
        workspace = std::move(idle.back());
        idle.pop_back();
      }
    }
    if (!workspace) workspace = std::make_unique<Workspace>();
    body(*workspace);
    const std::lock_guard<std::mutex> lock(mutex);
    idle.push_back(std::move(workspace));
  }

  Bpe bpe;
  TokenIndex whole_pieces;
  AddedTokenFinder raw_tokens;         // looked for first
  AddedTokenFinder normalized_tokens;  // looked for in what is left
  bool nfc;
  Splitter splitter;
  std::vector<std::uint32_t> before;
  std::vector<std::uint32_t> after;
  Vocabulary vocabulary;

  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Workspace>> idle;
};

void Tokenizer::Impl::encode_piece(std::string_view piece, const PieceCache::Key& key, Workspace& workspace,
                                   std::vector<std::uint32_t>& out) const {
  if (key.length != 0) {
    if (const auto known = workspace.cache.find(key); !known.empty()) {
      out.insert(out.end(), known.begin(), known.end());
      return;
    }
  }
  const std::size_t start = out.size();
  if (const auto whole = whole_pieces.find(piece)) {
    out.push_back(*whole);
  } else {
    bpe.encode(piece, workspace.bpe, out);
  }
  if (key.length != 0) workspace.cache.insert(key, std::span(out).subspan(start));
}

void Tokenizer::Impl::encode_segment(std::string_view text, Workspace& workspace,
                                     std::vector<std::uint32_t>& out) const {
  // Pieces are looked up some time after they are found: meanwhile their part of the cache arrives.
  struct Pending {
    std::string_view piece;
    PieceCache::Key key;
  };
  std::array<Pending, 16> pending;
  std::size_t count = 0;
  const auto flush = [&] {
    for (std::size_t i = 0; i < count; ++i) encode_piece(pending[i].piece, pending[i].key, workspace, out);
    count = 0;
  };
  splitter.split(text, workspace.copies, [&](std::string_view piece) {
    pending[count++] = {piece, workspace.cache.look_ahead(piece)};
    if (count == pending.size()) flush();
  });
  flush();
  workspace.copies.clear();
}

void Tokenizer::Impl::encode(std::string_view text, Workspace& workspace,
                             std::vector<std::uint32_t>& out) const {
  if (text.size() > std::numeric_limits<std::uint32_t>::max() / 4) {
    throw_usage("[encode] expected a text below 1 GiB, but got " + std::to_string(text.size()) + " bytes");
  }
  text = well_formed(text, workspace.text);
  workspace.outer.clear();
  raw_tokens.split(text, workspace.outer);
  for (const Segment& outer : workspace.outer) {
    if (outer.id) {
      out.push_back(*outer.id);
      continue;
    }
    workspace.inner.clear();
    normalized_tokens.split(nfc ? to_nfc(outer.text, workspace.normalized) : outer.text, workspace.inner);
    for (const Segment& inner : workspace.inner) {
      if (inner.id) {
        out.push_back(*inner.id);
      } else {
        encode_segment(inner.text, workspace, out);
      }
    }
  }
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_json(std::string_view json) {
  return Tokenizer(std::make_unique<Impl>(read_tokenizer_json(json)));
}

Tokenizer Tokenizer::from_file(const std::string& path) { return from_json(MappedFile(path).text()); }

void Tokenizer::encode(std::string_view text, std::vector<std::uint32_t>& ids, bool add_special) const {
  if (add_special) ids.insert(ids.end(), impl_->before.begin(), impl_->before.end());
  impl_->with_workspace([&](Workspace& workspace) { impl_->encode(text, workspace, ids); });
  if (add_special) ids.insert(ids.end(), impl_->after.begin(), impl_->after.end());
}

std::vector<std::vector<std::uint32_t>> Tokenizer::encode_batch(std::span<const std::string_view> texts,
                                                                int threads, bool add_special) const {
  std::vector<std::vector<std::uint32_t>> ids(texts.size());
  const auto encode_range = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) encode(texts[i], ids[i], add_special);
  };
  if (threads == 1 || texts.size() < 2) {
    encode_range(0, texts.size());
  } else {
    ThreadPool(threads).run(texts.size(), 1, encode_range);
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const std::uint32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const std::uint32_t id : ids) {
    const Token& token = impl_->token(id);
    if (!(skip_special && token.special)) bytes += token.bytes;
  }
  return bytes;
}

std::vector<std::string> Tokenizer::pre_tokenize(std::string_view text) const {
  std::string replaced;
  std::deque<std::string> copies;
  std::vector<std::string> pieces;
  impl_->splitter.split(well_formed(text, replaced), copies,
                        [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

std::uint32_t Tokenizer::vocab_size() const {
  return static_cast<std::uint32_t>(impl_->vocabulary.tokens().size());
}

std::string_view Tokenizer::token_bytes(std::uint32_t id) const { return impl_->token(id).bytes; }

bool Tokenizer::is_special(std::uint32_t id) const { return impl_->token(id).special; }

std::optional<std::uint32_t> Tokenizer::token_id(std::string_view token) const {
  return impl_->vocabulary.find(token);
}

std::string StreamDecoder::push(std::uint32_t id) {
  std::string text;
  const std::string_view bytes = tokenizer_->token_bytes(id);
  if (skip_special_ && tokenizer_->is_special(id)) return text;
  pending_ += bytes;
  pending_.erase(0, utf8::append_replacing(pending_, false, text));
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  utf8::append_replacing(pending_, true, text);
  pending_.clear();
  return text;
}

}  // namespace castline
