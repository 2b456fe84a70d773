#include "chat/texts.hpp"

#include <algorithm>
#include <map>

#include "base/utf8.hpp"
#include "text/unicode.hpp"

namespace castline::chat {
namespace {

// Upper case is lower case read backwards; of several letters with one lower case, the first.
char32_t upper_case(char32_t code) {
  if (code < 0x80) return code >= 'a' && code <= 'z' ? code - ('a' - 'A') : code;
  static const std::map<char32_t, char32_t> table = [] {
    constexpr char32_t kLastCased = 0x1E943;
    std::map<char32_t, char32_t> result;
    for (char32_t upper = 0x80; upper <= kLastCased; ++upper) {
      const char32_t lower = text::lower_case(upper);
      if (lower != upper && lower >= 0x80) result.emplace(lower, upper);
    }
    return result;
  }();
  const auto found = table.find(code);
  return found == table.end() ? code : found->second;
}

bool is_letter(char32_t code) { return upper_case(code) != code || text::lower_case(code) != code; }

template <typename Change>
std::string changed(std::string_view text, const Change& change) {
  std::string out;
  out.reserve(text.size());
  for (const char* p = text.data(); p != text.data() + text.size();) utf8::append(change(utf8::next(p)), out);
  return out;
}

}  // namespace

std::u32string decode(std::string_view text) {
  std::u32string codes;
  for (const char* p = text.data(); p != text.data() + text.size();) codes += utf8::next(p);
  return codes;
}

std::string encode(std::u32string_view text) {
  std::string out;
  for (const char32_t code : text) utf8::append(code, out);
  return out;
}

bool is_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}

std::string strip(std::string_view text, const std::string* chars, Side side) {
  const std::u32string codes = decode(text);
  const std::u32string taken = chars != nullptr ? decode(*chars) : std::u32string();
  const auto drop = [&](char32_t code) {
    return chars != nullptr ? taken.find(code) != std::u32string::npos : is_space(code);
  };
  std::size_t begin = 0;
  std::size_t end = codes.size();
  if (side != Side::right) {
    while (begin < end && drop(codes[begin])) ++begin;
  }
  if (side != Side::left) {
    while (end > begin && drop(codes[end - 1])) --end;
  }
  return encode(std::u32string_view(codes).substr(begin, end - begin));
}

std::vector<std::string> split_words(std::string_view text, std::int64_t most, bool reverse) {
  std::u32string codes = decode(text);
  if (reverse) std::reverse(codes.begin(), codes.end());
  std::vector<std::string> words;
  const auto add = [&](std::u32string word) {
    if (reverse) std::reverse(word.begin(), word.end());
    words.push_back(encode(word));
  };
  std::size_t at = 0;
  for (;;) {
    while (at < codes.size() && is_space(codes[at])) ++at;
    if (at == codes.size()) break;
    std::size_t end = at;
    if (most >= 0 && words.size() == static_cast<std::size_t>(most)) {
      end = codes.size();  // what is left, without the space behind it
      while (is_space(codes[end - 1])) --end;
      add(codes.substr(at, end - at));
      break;
    }
    while (end < codes.size() && !is_space(codes[end])) ++end;
    add(codes.substr(at, end - at));
    at = end;
  }
  if (reverse) std::reverse(words.begin(), words.end());
  return words;
}

std::vector<std::string> split_at(std::string_view text, std::string_view separator, std::int64_t most,
                                  bool reverse) {
  std::vector<std::string> parts;
  const auto more = [&] { return most < 0 || parts.size() < static_cast<std::size_t>(most); };
  if (reverse) {
    std::size_t end = text.size();
    while (more() && end >= separator.size()) {
      const std::size_t at = text.rfind(separator, end - separator.size());
      if (at == std::string_view::npos) break;
      parts.emplace_back(text.substr(at + separator.size(), end - at - separator.size()));
      end = at;
    }
    parts.emplace_back(text.substr(0, end));
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  std::size_t begin = 0;
  while (more()) {
    const std::size_t at = text.find(separator, begin);
    if (at == std::string_view::npos) break;
    parts.emplace_back(text.substr(begin, at - begin));
    begin = at + separator.size();
  }
  parts.emplace_back(text.substr(begin));
  return parts;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  const std::u32string codes = decode(text);
  const auto ends_line = [](char32_t code) {
    return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
           code == 0x2028 || code == 0x2029;
  };
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < codes.size();) {
    std::size_t end = begin;
    while (end < codes.size() && !ends_line(codes[end])) ++end;
    std::size_t next = end;
    if (next < codes.size())
      next += codes[next] == '\r' && next + 1 < codes.size() && codes[next + 1] == '\n' ? 2 : 1;
    lines.push_back(encode(std::u32string_view(codes).substr(begin, (keep_ends ? next : end) - begin)));
    begin = next;
  }
  return lines;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, std::int64_t most) {
  std::string out;
  std::size_t begin = 0;
  if (from.empty()) {  // before every character, and behind the last one
    const char* p = text.data();
    const char* end = p + text.size();
    for (; most != 0; --most) {
      out += to;
      if (p == end) return out;
      const char* start = p;
      utf8::next(p);
      out.append(start, p);
    }
    return out.append(p, end);
  }
  for (; most != 0; --most) {
    const std::size_t at = text.find(from, begin);
    if (at == std::string_view::npos) break;
    out.append(text.substr(begin, at - begin)).append(to);
    begin = at + from.size();
  }
  return out.append(text.substr(begin));
}

std::string lower(std::string_view text) { return changed(text, text::lower_case); }

std::string upper(std::string_view text) { return changed(text, upper_case); }

std::string capitalize(std::string_view text) {
  bool first = true;
  return changed(text, [&](char32_t code) {
    const char32_t result = first ? upper_case(code) : text::lower_case(code);
    first = false;
    return result;
  });
}

std::string title(std::string_view text, bool jinja) {
  // Jinja begins a word behind white space, a hyphen or an opening bracket; Python behind all that is no
  // letter.
  const auto ends_word = [&](char32_t code) {
    if (!jinja) return !is_letter(code);
    return is_space(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<';
  };
  bool begins = true;
  return changed(text, [&](char32_t code) {
    const char32_t result = begins ? upper_case(code) : text::lower_case(code);
    begins = ends_word(code);
    return result;
  });
}

}  // namespace castline::chat
