#include "tokenizer/added_tokens.hpp"

#include <algorithm>

#include "base/utf8.hpp"
#include "tokenizer/char_class.hpp"

namespace castline::tokenizer {
namespace {

std::uint8_t first_class(std::string_view text) {
  const char* p = text.data();
  return CharClasses::get()[utf8::next(p)];
}

std::uint8_t last_class(std::string_view text) {
  const char* p = utf8::previous(text.data() + text.size());
  return CharClasses::get()[utf8::next(p)];
}

bool beside_word(std::string_view before, std::string_view after) {
  return (!before.empty() && (last_class(before) & kWord) != 0) ||
         (!after.empty() && (first_class(after) & kWord) != 0);
}

std::size_t spaces_at_end(std::string_view text) {
  std::size_t length = text.size();
  while (length > 0 && (last_class(text.substr(0, length)) & kSpace) != 0) {
    length = static_cast<std::size_t>(utf8::previous(text.data() + length) - text.data());
  }
  return text.size() - length;
}

std::size_t spaces_at_start(std::string_view text) {
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const char* q = p;
    if ((CharClasses::get()[utf8::next(q)] & kSpace) == 0) break;
    p = q;
  }
  return static_cast<std::size_t>(p - text.data());
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)), trie_(1) {
  for (std::uint32_t index = 0; index < tokens_.size(); ++index) {
    const std::string& content = tokens_[index].content;
    begins_[static_cast<unsigned char>(content.front())] = true;
    std::uint32_t node = 0;
    for (const char c : content) {
      auto& children = trie_[node].children;
      const auto byte = static_cast<unsigned char>(c);
      const auto place = std::lower_bound(children.begin(), children.end(), byte,
                                          [](const auto& child, unsigned char b) { return child.first < b; });
      if (place != children.end() && place->first == byte) {
        node = place->second;
      } else {
        node = static_cast<std::uint32_t>(trie_.size());
        children.insert(place, {byte, node});
        trie_.emplace_back();
      }
    }
    trie_[node].token = index;
  }
}

const AddedToken* AddedTokenFinder::longest_at(std::string_view text) const {
  const AddedToken* longest = nullptr;
  std::uint32_t node = 0;
  for (const char c : text) {
    const auto& children = trie_[node].children;
    const auto byte = static_cast<unsigned char>(c);
    const auto place = std::lower_bound(children.begin(), children.end(), byte,
                                        [](const auto& child, unsigned char b) { return child.first < b; });
    if (place == children.end() || place->first != byte) break;
    node = place->second;
    if (trie_[node].token) longest = &tokens_[*trie_[node].token];
  }
  return longest;
}

void AddedTokenFinder::split(std::string_view text, std::vector<Segment>& segments) const {
  if (tokens_.empty()) {
    if (!text.empty()) segments.push_back({text, std::nullopt});
    return;
  }
  std::size_t done = 0;  // the text before this lies in a segment already
  for (std::size_t at = 0; at < text.size();) {
    if (!begins_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const AddedToken* token = longest_at(text.substr(at));
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t start = at;
    std::size_t stop = at + token->content.size();
    at = stop;
    if (token->single_word && beside_word(text.substr(0, start), text.substr(stop))) continue;
    if (token->lstrip && done < start) start -= spaces_at_end(text.substr(done, start - done));
    if (token->rstrip) stop += spaces_at_start(text.substr(stop));
    if (done < start) segments.push_back({text.substr(done, start - done), std::nullopt});
    segments.push_back({{}, token->id});
    done = stop;
  }
  if (done < text.size()) segments.push_back({text.substr(done), std::nullopt});
}

}  // namespace castline::tokenizer
