// Finders of e-mail addresses, IP addresses and telephone numbers.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <type_traits>

#include "text/private_finders.hpp"

namespace castline::text {
namespace {

// Country codes (ISO 3166-1, and those in use besides), two letters each.
constexpr std::string_view kCountries =
    "acadaeafagaialamaoaqarasatauawaxazbabbbdbebfbgbhbibjbmbnbobrbsbtbwbybzcacccdcfcgchcickclcmcncocrcucv"
    "cwcxcyczdedjdkdmdodzeceeegereseteufifjfkfmfofrgagbgdgegfggghgiglgmgngpgqgrgsgtgugwgyhkhmhnhrhthuidie"
    "iliminioiqirisitjejmjojpkekgkhkikmknkpkrkwkykzlalblclilklrlsltlulvlymamcmdmemgmhmkmlmmmnmompmqmrmsmt"
    "mumvmwmxmymznancnenfngninlnonrnunzompapepfpgphpkplpmpnprpsptpwpyqarerorsrurwsasbscsdsesgshsiskslsmsn"
    "sosrssstsusvsxsysztctdtftgthtjtktltmtntotrtttvtwtzuaugukusuyuzvavcvevgvivnvuwfwsyeytzazmzw";
constexpr std::array<std::string_view, 86> kDomains{
    "academy",    "aero",    "agency",   "app",        "arpa",       "art",        "asia",        "berlin",
    "biz",        "blog",    "business", "capital",    "care",       "cat",        "center",      "city",
    "cloud",      "club",    "com",      "community",  "company",    "consulting", "coop",        "design",
    "dev",        "digital", "earth",    "edu",        "education",  "email",      "engineering", "finance",
    "foundation", "fund",    "global",   "gov",        "group",      "guru",       "health",      "info",
    "institute",  "int",     "jobs",     "legal",      "life",       "live",       "london",      "ltd",
    "mail",       "media",   "mil",      "mobi",       "museum",     "name",       "net",         "network",
    "news",       "online",  "org",      "page",       "paris",      "pro",        "school",      "science",
    "services",   "shop",    "site",     "software",   "solutions",  "store",      "studio",      "systems",
    "team",       "tech",    "top",      "travel",     "university", "vip",        "website",     "wiki",
    "work",       "works",   "world",    "xn--fiqs8s", "xyz",        "zone"};
constexpr std::array<std::string_view, 4> kExamples{"example.com", "example.net", "example.org",
                                                    "example.edu"};
constexpr std::array<std::string_view, 13> kVersionWords{
    "version", "versions", "ver",   "release", "releases", "rev", "revision",
    "section", "chapter",  "build", "update",  "clause",   "sec"};

std::string lowered(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), to_lower);
  return lower;
}

template <class Value, std::size_t kSize>
bool is_one_of(const std::type_identity_t<Value>& word, const std::array<Value, kSize>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_top_level(std::string_view label) {
  if (label.size() == 2) {
    for (std::size_t i = 0; i + 1 < kCountries.size(); i += 2) {
      if (kCountries.substr(i, 2) == label) return true;
    }
    return false;
  }
  return is_one_of(label, kDomains);
}

// Whether `domain`, in lower case, can be one on the internet that is somebody's.
bool is_domain(std::string_view domain) {
  std::size_t begin = 0;
  std::size_t labels = 0;
  std::string_view label;
  for (;; ++labels) {
    const std::size_t end = std::min(domain.find('.', begin), domain.size());
    label = domain.substr(begin, end - begin);
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    if (end == domain.size()) break;
    begin = end + 1;
  }
  if (labels == 0 || !is_top_level(label)) return false;
  return std::none_of(kExamples.begin(), kExamples.end(), [&](std::string_view example) {
    return domain == example ||
           (domain.ends_with(example) && domain[domain.size() - example.size() - 1] == '.');
  });
}

bool is_local(char c) { return is_name(c) || c == '.' || c == '%' || c == '+' || c == '-'; }

}  // namespace

Found find_email(std::string_view text, std::size_t at, std::size_t floor) {
  std::size_t begin = at;
  while (begin > floor && at - begin < 64 && is_local(text[begin - 1])) --begin;
  while (begin < at && !is_alnum(text[begin])) ++begin;
  if (begin == at || text[at - 1] == '.' || text.substr(begin, at - begin) == "git") return {};
  // scheme://user:password@host
  const std::string_view front = text.substr(begin > 64 ? begin - 64 : 0, std::min<std::size_t>(begin, 64));
  if (front.ends_with(':') && front.substr(front.find_last_of(" \n\"'") + 1).find("://") != front.npos)
    return {};
  std::size_t end = at + 1;
  while (end < text.size() && end - at <= 254 &&
         (is_alnum(text[end]) || text[end] == '.' || text[end] == '-'))
    ++end;
  if (byte_at(text, end) == '(' || byte_at(text, end) == '_') return {};
  while (text[end - 1] == '.' || text[end - 1] == '-') --end;
  if (!is_domain(lowered(text.substr(at + 1, end - at - 1)))) return {};
  return PrivateSpan{begin, end, PrivateKind::email};
}

namespace {

struct Address {
  std::array<unsigned, 4> parts;
  std::size_t end;
};

std::optional<Address> parse_ipv4(std::string_view text, std::size_t at) {
  Address address{};
  for (std::size_t part = 0; part < 4; ++part) {
    if (part > 0 && byte_at(text, at++) != '.') return {};
    const std::size_t begin = at;
    unsigned value = 0;
    for (; at < text.size() && is_digit(text[at]) && at - begin < 4; ++at) {
      value = 10 * value + static_cast<unsigned>(text[at] - '0');
    }
    if (at == begin || value > 255 || (text[begin] == '0' && at - begin > 1)) return {};
    address.parts[part] = value;
  }
  address.end = at;
  if (is_name(byte_at(text, at)) || (byte_at(text, at) == '.' && is_digit(byte_at(text, at + 1)))) return {};
  return address;
}

// Addresses of one machine on the internet (RFC 6890), public resolvers left out.
bool is_routed(const std::array<unsigned, 4>& p) {
  static constexpr std::array<std::uint32_t, 6> kResolvers{0x08080808, 0x08080404, 0x01010101,
                                                           0x01000001, 0x09090909, 0x72727272};
  const std::uint32_t address = p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
  const auto within = [address](std::uint32_t network, int bits) {
    return (address ^ network) >> (32 - bits) == 0;
  };
  return p[0] != 0 && p[0] != 10 && p[0] != 127 && p[0] < 224 && !within(0xA9FE0000, 16) &&
         !within(0xAC100000, 12) && !within(0xC0A80000, 16) && !within(0x64400000, 10) &&
         !within(0xC0000000, 24) && !within(0xC0000200, 24) && !within(0xC6120000, 15) &&
         !within(0xC6336400, 24) && !within(0xCB007100, 24) && !is_one_of(address, kResolvers);
}

// Whether numbers at `at` are a version or section by what is before them.
bool is_version(std::string_view text, std::size_t at) {
  const char before = byte_before(text, at);
  const char second = at > 1 ? text[at - 2] : ' ';
  if (before == '-' || before == '+' || before == '~' || before == '^') return true;
  if (before == '/' && (is_name(second) || second == '.')) return true;
  if (before == '=' && (second == '=' || second == '<' || second == '>' || second == '~' || second == '!'))
    return true;
  std::string_view front = text.substr(at > 32 ? at - 32 : 0, std::min<std::size_t>(at, 32));
  while (!front.empty() && !is_alnum(front.back()) && static_cast<unsigned char>(front.back()) < 0x80 &&
         front.back() != '\n') {
    front.remove_suffix(1);
  }
  std::size_t begin = front.size();
  while (begin > 0 && is_alpha(front[begin - 1])) --begin;
  const std::string word = lowered(front.substr(begin));
  return is_one_of(word, kVersionWords) || word.ends_with("version") || front.ends_with("版本") ||
         front.ends_with("节") || front.ends_with("章");
}

// 2000::/3 but for documentation: the first group has four digits and begins with 2 or 3.
Found find_ipv6(std::string_view text, std::size_t at) {
  if (text[at] != '2' && text[at] != '3') return {};
  std::size_t end = at;
  while (end < text.size() && (is_hex(text[end]) || text[end] == ':')) ++end;
  if (text[end - 1] == ':' && text[end - 2] != ':') --end;
  if (end - at > 39 || is_name(byte_at(text, end))) return {};
  std::size_t groups = 0;
  bool gap = false;
  for (std::size_t i = at; i < end;) {
    const std::size_t begin = i;
    while (i < end && is_hex(text[i])) ++i;
    if (i == begin || i - begin > 4) return {};
    ++groups;
    if (i < end) ++i;
    if (i < end && text[i] == ':') {
      if (gap) return {};
      gap = true;
      ++i;
    }
  }
  if (gap ? groups < 2 || groups > 7 : groups != 8) return {};  // "2008::" is a year before a list
  const std::string front = lowered(text.substr(at, 10));
  if (front.starts_with("2001:db8:") || front.starts_with("2001:0db8:")) return {};
  return PrivateSpan{at, end, PrivateKind::ip};
}

}  // namespace

Found find_ip(std::string_view text, std::size_t at) {
  const char before = byte_before(text, at);
  if (is_name(before) || before == '.') return {};
  const std::string_view four = text.substr(at, 5);
  if (four.size() == 5 && four[4] == ':') return before == ':' ? Found{} : find_ipv6(text, at);
  const auto address = parse_ipv4(text, at);
  if (!address || !is_routed(address->parts)) return {};
  if (*std::max_element(address->parts.begin(), address->parts.end()) < 32 || is_version(text, at)) return {};
  return PrivateSpan{at, address->end, PrivateKind::ip};
}

namespace {

bool is_separator(char c) { return c == ' ' || c == '-' || c == '.' || c == '(' || c == ')'; }

// How many digits are at `at`.
std::size_t digits_at(std::string_view text, std::size_t at) {
  std::size_t end = at;
  while (end < text.size() && is_digit(text[end])) ++end;
  return end - at;
}

// Whether a number may end before `end`: it is not part of a longer one, nor of a name.
bool ends(std::string_view text, std::size_t end) {
  const char next = byte_at(text, end);
  if (is_name(next) || next == '%') return false;
  return !((next == '.' || next == ',' || next == '-' || next == '/') && is_digit(byte_at(text, end + 1)));
}

bool between(char c, char first, char last) { return c >= first && c <= last; }

// Whether the number at `at` is behind "key": and so is any count, most often.
bool is_json_value(std::string_view text, std::size_t at) {
  while (at > 0 && text[at - 1] == ' ') --at;
  return at > 1 && text[at - 1] == ':' && text[at - 2] == '"';
}

std::size_t chinese_mobile(std::string_view text, std::size_t at) {
  if (text[at] != '1' || !between(byte_at(text, at + 1), '3', '9')) return 0;
  const std::size_t digits = digits_at(text, at);
  if (digits == 11) {
    const std::string_view number = text.substr(at, 11);
    return number == "17179869184" || number.ends_with("000000") ? 0 : 11;  // 2^34, and round numbers
  }
  const char separator = byte_at(text, at + 3);
  const bool grouped = digits == 3 && (separator == '-' || separator == ' ') &&
                       digits_at(text, at + 4) == 4 && byte_at(text, at + 8) == separator &&
                       digits_at(text, at + 9) == 4;
  return grouped ? 13 : 0;
}

std::size_t chinese_landline(std::string_view text, std::size_t at) {
  const std::size_t area = digits_at(text, at);
  if (text[at] != '0' || !between(byte_at(text, at + 1), '1', '9') || (area != 3 && area != 4)) return 0;
  const std::size_t local = digits_at(text, at + area + 1);
  const bool fits = byte_at(text, at + area) == '-' && between(byte_at(text, at + area + 1), '2', '8') &&
                    (local == 7 || local == 8);
  return fits ? area + 1 + local : 0;
}

// NPA-NXX-XXXX, NPA.NXX.XXXX, (NPA) NXX-XXXX, also behind "1-".
std::size_t north_american(std::string_view text, std::size_t at) {
  const std::size_t start = at;
  if (text[at] == '1' && byte_at(text, at + 1) == '-') at += 2;
  const bool parenthesis = byte_at(text, at) == '(';
  at += parenthesis;
  if (digits_at(text, at) != 3 || text[at] < '2' || text[at + 1] == '9') return 0;
  at += 3;
  char separator = byte_at(text, at++);
  if (parenthesis) {
    if (separator != ')') return 0;
    at += byte_at(text, at) == ' ';
    separator = '-';
  } else if (separator != '-' && separator != '.') {
    return 0;
  }
  if (digits_at(text, at) != 3 || text[at] < '2' || byte_at(text, at + 3) != separator) return 0;
  const std::string_view exchange = text.substr(at, 3);
  at += 4;
  if (digits_at(text, at) != 4) return 0;
  if (exchange == "555" && text.substr(at, 2) == "01") return 0;
  return at + 4 - start;
}

}  // namespace

Found find_international_phone(std::string_view text, std::size_t at, TextKind kind) {
  const char before = byte_before(text, at);
  if (is_name(before) || before == ')' || before == '+' || !between(byte_at(text, at + 1), '1', '9'))
    return {};
  std::size_t end = at + 1 + digits_at(text, at + 1);
  const std::size_t first = end - at - 1;
  std::size_t digits = first;
  bool separated = false;
  for (;;) {
    std::size_t next = end;
    while (next < text.size() && next - end < 2 && is_separator(text[next])) ++next;
    const std::size_t more = digits_at(text, next);
    if (next == end || more < 2 || digits + more > 15) break;
    separated = true;
    digits += more;
    end = next + more;
  }
  if (!ends(text, end)) return {};
  const bool announced = at >= 4 && lowered(text.substr(at - 4, 4)) == "tel:";
  const bool plausible = separated ? first <= 3 && digits >= 9 : digits >= 10 && digits <= 15;
  if (!plausible || (kind == TextKind::code && !separated && !announced)) return {};
  return PrivateSpan{at, end, PrivateKind::phone};
}

Found find_phone(std::string_view text, std::size_t at) {
  const char before = byte_before(text, at);
  static constexpr std::string_view kInside = "._-+/#$,%&=";
  if (is_alnum(before) || kInside.find(before) != kInside.npos) return {};
  std::size_t size = 0;
  if (is_digit(text[at]) && !is_json_value(text, at)) size = chinese_mobile(text, at);
  if (size == 0 && is_digit(text[at])) size = chinese_landline(text, at);
  if (size == 0) size = north_american(text, at);
  if (size == 0 || !ends(text, at + size)) return {};
  return PrivateSpan{at, at + size, PrivateKind::phone};
}

}  // namespace castline::text
