// The finder of keys and secrets.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "text/private_finders.hpp"

namespace castline::text {
namespace {

bool is_url_base64(char c) { return is_name(c) || c == '-'; }
bool is_base64(char c) { return is_alnum(c) || c == '+' || c == '/' || c == '='; }
bool is_secret(char c) {
  return is_name(c) || std::string_view("+/=-.~!#$%^&*").find(c) != std::string_view::npos;
}

template <class Predicate>
std::size_t run_of(std::string_view text, std::size_t at, Predicate is_part) {
  std::size_t end = at;
  while (end < text.size() && is_part(text[end])) ++end;
  return end - at;
}

bool begins(std::string_view text, std::size_t at, std::string_view what) {
  return at <= text.size() && text.substr(at).starts_with(what);
}

Found key(std::size_t begin, std::size_t end) { return PrivateSpan{begin, end, PrivateKind::key}; }

// A key that services hand out: its mark, and how many characters of which kind follow.
struct Mark {
  std::string_view mark;
  std::size_t anchor;  // the place in the mark of the byte that is looked for
  std::size_t least;   // characters behind the mark
  std::size_t most;
  bool (*is_part)(char);
};

bool is_upper_or_digit(char c) { return is_upper(c) || is_digit(c); }

constexpr std::size_t kAny = 512;
constexpr std::array<Mark, 23> kMarks{{
    {"AKIA", 0, 16, 16, is_upper_or_digit}, {"ASIA", 0, 16, 16, is_upper_or_digit},
    {"AIza", 0, 35, 35, is_url_base64},     {"ghp_", 3, 36, 255, is_alnum},
    {"gho_", 3, 36, 255, is_alnum},         {"ghu_", 3, 36, 255, is_alnum},
    {"ghs_", 3, 36, 255, is_alnum},         {"ghr_", 3, 36, 255, is_alnum},
    {"github_pat_", 6, 60, 255, is_name},   {"hf_", 2, 30, 40, is_alnum},
    {"npm_", 3, 36, 36, is_alnum},          {"sk_live_", 2, 16, 255, is_alnum},
    {"rk_live_", 2, 16, 255, is_alnum},     {"sk_test_", 2, 16, 255, is_alnum},
    {"glpat-", 5, 20, 255, is_url_base64},  {"xoxb-", 4, 20, 255, is_url_base64},
    {"xoxp-", 4, 20, 255, is_url_base64},   {"xoxa-", 4, 20, 255, is_url_base64},
    {"xoxr-", 4, 20, 255, is_url_base64},   {"xoxs-", 4, 20, 255, is_url_base64},
    {"sk-", 2, 32, kAny, is_url_base64},    {"pypi-AgE", 4, 50, kAny, is_url_base64},
    {"dop_v1_", 3, 64, 64, is_hex},
}};

// Whether letters and digits change as they do where nobody chose them.
bool is_mixed(std::string_view value, std::size_t least_changes) {
  std::size_t changes = 0;
  for (std::size_t i = 1; i < value.size(); ++i) {
    changes +=
        (is_digit(value[i]) && is_alpha(value[i - 1])) || (is_alpha(value[i]) && is_digit(value[i - 1]));
  }
  return changes >= least_changes;
}

bool looks_random(std::string_view value) {
  if (value.size() < 16 || value.size() > 512 || !is_mixed(value, 3)) return false;
  std::array<double, 256> counts{};
  for (const char c : value) ++counts[static_cast<unsigned char>(c)];
  const auto size = static_cast<double>(value.size());
  double bits = 0;
  for (const double count : counts) {
    if (count > 0) bits -= count / size * std::log2(count / size);
  }
  return bits >= 3.5;
}

Found find_marked(std::string_view text, std::size_t at, std::size_t floor) {
  for (const Mark& mark : kMarks) {
    if (text[at] != mark.mark[mark.anchor] || at < floor + mark.anchor) continue;
    const std::size_t begin = at - mark.anchor;
    if (!begins(text, begin, mark.mark) || is_name(byte_before(text, begin)) ||
        byte_before(text, begin) == '-') {
      continue;
    }
    const std::size_t body = begin + mark.mark.size();
    const std::size_t size = run_of(text, body, mark.is_part);
    if (size < mark.least || size > mark.most || is_name(byte_at(text, body + size))) continue;
    const std::string_view value = text.substr(body, size);
    if (value.ends_with("EXAMPLE") || !is_mixed(value, 2)) continue;
    return key(begin, body + size);
  }
  return {};
}

// Three parts of URL-safe base64, the first two of which begin like JSON objects.
Found find_web_token(std::string_view text, std::size_t at, std::size_t floor) {
  if (at < floor + 2 || text.substr(at - 2, 3) != "eyJ" || is_url_base64(byte_before(text, at - 2)))
    return {};
  const std::size_t begin = at - 2;
  const std::size_t header = begin + run_of(text, begin, is_url_base64);
  if (header - begin < 12 || !begins(text, header, ".eyJ")) return {};
  const std::size_t payload = header + 1 + run_of(text, header + 1, is_url_base64);
  if (payload - header < 12 || byte_at(text, payload) != '.') return {};
  const std::size_t signature = run_of(text, payload + 1, is_url_base64);
  return signature < 16 ? Found{} : key(begin, payload + 1 + signature);
}

// From "-----BEGIN … PRIVATE KEY-----" to the line that ends it, or as far as base64 goes.
Found find_private_key_block(std::string_view text, std::size_t at) {
  static constexpr std::string_view kDashes = "-----";
  static constexpr std::string_view kLabel = "PRIVATE KEY";
  if (!begins(text, at, "-----BEGIN ")) return {};
  const std::size_t label = at + kDashes.size();
  const std::size_t close = text.substr(label, 64).find(kDashes);
  if (close == text.npos || text.substr(label, close).find(kLabel) == text.npos) return {};
  const std::size_t body = label + close + kDashes.size();
  std::size_t end = body;
  std::size_t content = 0;
  for (std::size_t i = body; i < text.size(); ++i) {
    const char c = text[i];
    if (is_base64(c)) {
      ++content;
      end = i + 1;
    } else if (std::string_view(" \t\r\n\\\"'|,:-").find(c) == std::string_view::npos ||
               begins(text, i, kDashes)) {
      break;
    }
  }
  if (content < 64) return {};
  const std::size_t last = text.substr(end, 16).find("-----END ");
  if (last != text.npos) {
    const std::size_t label_end = end + last + kDashes.size();
    const std::size_t dashes = text.substr(label_end, 64).find(kDashes);
    if (dashes != text.npos) end = label_end + dashes + kDashes.size();
  }
  return key(at, end);
}

// The password of scheme://user:password@host, at the "@".
Found find_url_password(std::string_view text, std::size_t at, std::size_t floor) {
  static constexpr std::array<std::string_view, 14> kPlaceholders{
      "password", "passwd", "pass",  "pwd",  "pw",       "secret", "token",
      "xxx",      "xxxx",   "xxxxx", "user", "username", "key",    "changeme"};
  std::size_t colon = 0;
  for (std::size_t i = at; i > floor && at - i < 200; --i) {
    const char c = text[i - 1];
    if (c == ':' && i + 1 < text.size() && text[i] == '/' && text[i + 1] == '/') {
      if (colon <= i + 2) return {};
      const std::string_view password = text.substr(colon + 1, at - colon - 1);
      const bool is_variable = password.find_first_of("{}$<>%*[]") != password.npos;
      const bool is_placeholder =
          std::find(kPlaceholders.begin(), kPlaceholders.end(), password) != kPlaceholders.end() ||
          password == text.substr(i + 2, colon - i - 2);
      return password.size() < 4 || is_variable || is_placeholder ? Found{} : key(colon + 1, at);
    }
    if (c == ':') colon = i - 1;
    if (c == ' ' || c == '\n' || c == '\t' || c == '"' || c == '\'' || c == '@') return {};
  }
  return {};
}

// Whether a name says that its value is a secret.
bool names_secret(std::string_view name) {
  static constexpr std::array<std::string_view, 16> kSecret{
      "secret",      "passw",         "pwd",        "token",      "apikey",     "api_key",
      "api-key",     "accesskey",     "access_key", "access-key", "privatekey", "private_key",
      "private-key", "authorization", "credential", "auth_key"};
  static constexpr std::array<std::string_view, 5> kOther{"hash", "digest", "checksum", "sha", "public"};
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), to_lower);
  const auto holds = [&lower](std::string_view part) { return lower.find(part) != lower.npos; };
  return std::any_of(kSecret.begin(), kSecret.end(), holds) &&
         std::none_of(kOther.begin(), kOther.end(), holds);
}

// name = "value", "name": "value", name => 'value', NAME=value: at the "=" or ":".
Found find_assignment(std::string_view text, std::size_t at) {
  std::size_t value = at + 1;
  if (byte_at(text, value) == '=' || byte_at(text, value) == '>') ++value;
  value += run_of(text, value, [](char c) { return c == ' '; });
  for (const std::string_view scheme : {"Bearer ", "Basic ", "token "}) {
    if (begins(text, value, scheme)) value += scheme.size();
  }
  const char quote = byte_at(text, value);
  const bool quoted = quote == '"' || quote == '\'' || quote == '`';
  value += quoted;
  for (const std::string_view scheme : {"Bearer ", "Basic ", "token "}) {
    if (quoted && begins(text, value, scheme)) value += scheme.size();
  }
  if (!is_alnum(byte_at(text, value))) return {};
  std::size_t name = at;
  while (name > 0 && (text[name - 1] == ' ' || text[name - 1] == ':')) --name;
  if (byte_before(text, name) == ']') --name;
  if (byte_before(text, name) == '"' || byte_before(text, name) == '\'') --name;
  const std::size_t name_end = name;
  while (name > 0 && name_end - name < 64 && is_url_base64(text[name - 1])) --name;
  if (name == name_end || !names_secret(text.substr(name, name_end - name))) return {};
  const std::size_t size = quoted ? run_of(text, value, is_secret) : run_of(text, value, is_url_base64);
  const char behind = byte_at(text, value + size);
  if (quoted ? behind != quote
             : size < 20 || std::string_view(" \t\r\n&;,\"'").find(behind) == std::string_view::npos) {
    return {};
  }
  return looks_random(text.substr(value, size)) ? key(value, value + size) : Found{};
}

}  // namespace

Found find_key(std::string_view text, std::size_t at, std::size_t floor) {
  switch (text[at]) {
    case '@':
      return find_url_password(text, at, floor);
    case 'J':
      return find_web_token(text, at, floor);
    case '=':
    case ':':
      return find_assignment(text, at);
    case '-':
      if (const Found block = find_private_key_block(text, at)) return block;
      return find_marked(text, at, floor);
    default:
      return find_marked(text, at, floor);
  }
}

}  // namespace castline::text
