#include "text/terms.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "text/unicode.hpp"

namespace castline::text {
namespace {

struct Found {
  std::size_t begin;
  std::size_t end;
  std::uint32_t term;
};

bool in(char32_t code, char32_t first, char32_t last) { return code >= first && code <= last; }

bool is_unspaced(char32_t code) {
  return in(code, 0x0E00, 0x0EFF) || in(code, 0x1000, 0x109F) || in(code, 0x1780, 0x17FF) ||
         in(code, 0x3040, 0x30FF) || in(code, 0x31F0, 0x31FF) || in(code, 0xFF66, 0xFF9F);
}

// Whether a word may go on from such a character to the next one.
bool joins(char32_t code) {
  switch (char_classes()[code]) {
    case CharClass::letter:
    case CharClass::upper:
    case CharClass::digit:
    case CharClass::number:
    case CharClass::connector:
    case CharClass::mark:
      return !is_unspaced(code);
    default:
      return false;
  }
}

std::string fold(std::string_view bytes) {
  std::string storage;
  const std::string_view text = valid_utf8(bytes, storage).text;
  const CharClass* classes = char_classes();
  std::string folded;
  folded.reserve(text.size());
  for (const char* p = text.data(); p != text.data() + text.size();) {
    char32_t code = utf8::next(p);
    const CharClass c = classes[code];
    if (c == CharClass::format) continue;
    if (c <= CharClass::space) {
      if (folded.empty() || folded.back() != ' ') folded += ' ';
      continue;
    }
    if (in(code, 0xFF01, 0xFF5E)) code -= 0xFF01 - '!';
    utf8::append(lower_case(code), folded);
  }
  return folded;
}

std::string fold_term(std::string_view term) {
  std::string folded = fold(term);
  if (!folded.empty() && folded.back() == ' ') folded.pop_back();
  if (!folded.empty() && folded.front() == ' ') folded.erase(0, 1);
  if (folded.empty()) throw_usage("[terms] expected a term, but got '" + std::string(term) + "'");
  return folded;
}

// Whether [begin, end) of the folded text is not part of a longer word.
bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  const char* data = text.data();
  if (begin > 0) {
    const char* first = data + begin;
    const char* before = utf8::previous(first);
    if (joins(utf8::next(first)) && joins(utf8::next(before))) return false;
  }
  if (end < text.size()) {
    const char* last = utf8::previous(data + end);
    const char* behind = data + end;
    const char32_t next = utf8::next(behind);
    if (joins(utf8::next(last)) && joins(next)) return false;
  }
  return true;
}

}  // namespace

TermMatcher::TermMatcher(std::span<const std::string_view> terms,
                         std::span<const std::string_view> exceptions)
    : terms_(terms.size()) {
  std::vector<std::string> folded;
  folded.reserve(terms.size() + exceptions.size());
  for (const std::string_view term : terms) folded.push_back(fold_term(term));
  for (const std::string_view exception : exceptions) folded.push_back(fold_term(exception));
  build(folded);
}

// Nodes are made breadth first from the sorted terms: a node is a range of them with a common beginning. So
// every node's fail, which is shorter, is there before it.
void TermMatcher::build(const std::vector<std::string>& folded) {
  std::vector<std::uint32_t> order(folded.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return folded[a] < folded[b]; });

  struct Range {
    std::size_t begin;
    std::size_t end;
    std::size_t depth;
    std::uint32_t parent;
  };
  std::vector<Range> ranges{{0, order.size(), 0, 0}};
  root_.assign(256, 0);
  for (std::uint32_t node = 0; node < ranges.size(); ++node) {
    auto [begin, end, depth, parent] = ranges[node];
    Node made{.first_edge = static_cast<std::uint32_t>(labels_.size())};
    if (node != 0) {
      const auto byte = static_cast<unsigned char>(folded[order[begin]][depth - 1]);
      if (parent == 0) {
        root_[byte] = node;
      } else {
        std::uint32_t suffix = nodes_[parent].fail;
        while (suffix != 0 && child(suffix, byte) == 0) suffix = nodes_[suffix].fail;
        made.fail = child(suffix, byte);
      }
    }
    if (begin < end && folded[order[begin]].size() == depth && depth > 0) {
      made.length = static_cast<std::uint32_t>(depth);
      made.term = static_cast<std::int32_t>(order[begin]);
      for (; begin < end && folded[order[begin]].size() == depth; ++begin) {
        if (order[begin] >= terms_) made.term = static_cast<std::int32_t>(order[begin]);  // excepted as it is
      }
    }
    made.output = made.term >= 0 ? node : nodes_.empty() ? 0 : nodes_[made.fail].output;
    while (begin < end) {
      const char byte = folded[order[begin]][depth];
      std::size_t next = begin;
      while (next < end && folded[order[next]][depth] == byte) ++next;
      labels_.push_back(static_cast<unsigned char>(byte));
      children_.push_back(static_cast<std::uint32_t>(ranges.size()));
      ranges.push_back({begin, next, depth + 1, node});
      ++made.edges;
      begin = next;
    }
    nodes_.push_back(made);
  }
}

// The child, 0 for none.
std::uint32_t TermMatcher::child(std::uint32_t node, unsigned char byte) const {
  if (node == 0) return root_[byte];
  const Node& here = nodes_[node];
  const unsigned char* labels = labels_.data() + here.first_edge;
  const unsigned char* found = std::lower_bound(labels, labels + here.edges, byte);
  if (found == labels + here.edges || *found != byte) return 0;
  return children_[here.first_edge + static_cast<std::size_t>(found - labels)];
}

std::vector<std::uint32_t> TermMatcher::operator()(std::string_view bytes) const {
  const std::string text = fold(bytes);
  std::vector<Found> found;
  std::vector<Found> excepted;
  std::uint32_t node = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    std::uint32_t next = child(node, byte);
    while (next == 0 && node != 0) {
      node = nodes_[node].fail;
      next = child(node, byte);
    }
    node = next;
    for (std::uint32_t out = nodes_[node].output; out != 0; out = nodes_[nodes_[out].fail].output) {
      const std::size_t end = i + 1;
      const std::size_t begin = end - nodes_[out].length;
      if (!stands_alone(text, begin, end)) continue;
      const auto term = static_cast<std::uint32_t>(nodes_[out].term);
      (term < terms_ ? found : excepted).push_back({begin, end, term});
    }
  }
  const auto by_begin = [](const Found& a, const Found& b) {
    return std::pair(a.begin, b.end) < std::pair(b.begin, a.end);  // of the same begin, the longest first
  };
  std::sort(found.begin(), found.end(), by_begin);
  std::sort(excepted.begin(), excepted.end(), by_begin);
  std::vector<std::uint32_t> result;
  std::size_t taken = 0;
  std::size_t excepted_to = 0;
  auto exception = excepted.cbegin();
  for (const Found& one : found) {
    for (; exception != excepted.cend() && exception->begin <= one.begin; ++exception) {
      excepted_to = std::max(excepted_to, exception->end);
    }
    if (one.begin < taken || one.end <= excepted_to) continue;
    taken = one.end;
    result.push_back(one.term);
  }
  return result;
}

}  // namespace castline::text
