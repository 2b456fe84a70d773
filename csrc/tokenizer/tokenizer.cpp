#include "tokenizer/tokenizer.hpp"

#include <array>
#include <deque>
#include <limits>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/error.hpp"
#include "base/mapped_file.hpp"
#include "base/parallel.hpp"
#include "base/utf8.hpp"
#include "tokenizer/added_tokens.hpp"
#include "tokenizer/bpe.hpp"
#include "tokenizer/byte_alphabet.hpp"
#include "tokenizer/nfc.hpp"
#include "tokenizer/piece_cache.hpp"
#include "tokenizer/splitter.hpp"
#include "tokenizer/tokenizer_json.hpp"

namespace castline {
namespace {

using namespace tokenizer;

struct Token {
  std::string bytes;
  bool used = false;
  bool special = false;
};

/// The text in which an added token is found, and as which it is decoded.
std::string written_form(const TokenizerFile& file, const AddedToken& token) {
  std::string normalized;
  return std::string(file.nfc && token.normalized ? to_nfc(token.content, normalized) : token.content);
}

/// The tokens by id.
std::vector<Token> make_tokens(const TokenizerFile& file) {
  std::vector<Token> tokens;
  const auto set = [&](std::uint32_t id, const std::string& written, bool special) {
    if (id >= tokens.size()) tokens.resize(id + 1);
    tokens[id] = {from_byte_alphabet(written).value_or(written), true, special};
  };
  for (const auto& [written, id] : file.vocabulary) set(id, written, false);
  for (const AddedToken& token : file.added_tokens) set(token.id, written_form(file, token), token.special);
  return tokens;
}

Bpe make_bpe(const TokenizerFile& file) {
  std::vector<std::string> bytes;
  ByteTokens byte_tokens{{}, file.unknown, file.fuse_unknown};
  byte_tokens.ids.fill(ByteTokens::kNone);
  for (const auto& [written, id] : file.vocabulary) {
    if (id >= bytes.size()) bytes.resize(id + 1);
    const auto meant = from_byte_alphabet(written);
    bytes[id] = meant.value_or(written);
    if (meant && meant->size() == 1) byte_tokens.ids[static_cast<unsigned char>(meant->front())] = id;
  }
  return Bpe(file.merges, bytes, byte_tokens);
}

/// The tokens that are pieces in themselves, whatever the merges say.
std::unordered_map<std::string, std::uint32_t> make_whole_pieces(const TokenizerFile& file) {
  std::unordered_map<std::string, std::uint32_t> pieces;
  if (!file.ignore_merges) return pieces;
  pieces.reserve(file.vocabulary.size());
  for (const auto& [written, id] : file.vocabulary) {
    if (auto bytes = from_byte_alphabet(written)) pieces.emplace(std::move(*bytes), id);
  }
  return pieces;
}

std::vector<AddedToken> tokens_where(const TokenizerFile& file, bool normalized) {
  std::vector<AddedToken> chosen;
  for (const AddedToken& token : file.added_tokens) {
    if (token.normalized != normalized) continue;
    chosen.push_back(token);
    chosen.back().content = written_form(file, token);
  }
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
      : tokens(make_tokens(file)),
        bpe(make_bpe(file)),
        whole_pieces(make_whole_pieces(file)),
        raw_tokens(tokens_where(file, false)),
        normalized_tokens(tokens_where(file, true)),
        nfc(file.nfc),
        splitter(std::move(file.steps)),
        before(std::move(file.before)),
        after(std::move(file.after)),
        ids(std::move(file.vocabulary)) {
    for (AddedToken& token : file.added_tokens) ids.emplace(std::move(token.content), token.id);
  }

  const Token& token(std::uint32_t id) const {
    if (id >= tokens.size() || !tokens[id].used) {
      throw_usage("[decode] expected the id of a token, below " + std::to_string(tokens.size()) +
                  ", but got " + std::to_string(id));
    }
    return tokens[id];
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

  std::vector<Token> tokens;
  Bpe bpe;
  std::unordered_map<std::string, std::uint32_t> whole_pieces;
  AddedTokenFinder raw_tokens;         // looked for first
  AddedTokenFinder normalized_tokens;  // looked for in what is left
  bool nfc;
  Splitter splitter;
  std::vector<std::uint32_t> before;
  std::vector<std::uint32_t> after;
  std::unordered_map<std::string, std::uint32_t> ids;  // by the token as written

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
  const auto whole = whole_pieces.empty() ? whole_pieces.end() : whole_pieces.find(std::string(piece));
  if (whole != whole_pieces.end()) {
    out.push_back(whole->second);
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

std::uint32_t Tokenizer::vocab_size() const { return static_cast<std::uint32_t>(impl_->tokens.size()); }

std::string_view Tokenizer::token_bytes(std::uint32_t id) const { return impl_->token(id).bytes; }

bool Tokenizer::is_special(std::uint32_t id) const { return impl_->token(id).special; }

std::optional<std::uint32_t> Tokenizer::token_id(std::string_view token) const {
  const auto found = impl_->ids.find(std::string(token));
  if (found == impl_->ids.end()) return std::nullopt;
  return found->second;
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
