#include "text/private_data.hpp"

#include <array>

#include "text/private_finders.hpp"

namespace castline::text {
namespace {

constexpr std::array<std::string_view, kPrivateKinds> kNames{"email", "ip", "phone", "key"};
constexpr std::array<std::string_view, kPrivateKinds> kPlaceholders{"<EMAIL>", "<IP_ADDRESS>", "<PHONE>",
                                                                    "<KEY>"};

enum class Anchor : std::uint8_t { none, at_sign, digit, plus, parenthesis, key };

constexpr auto kAnchors = [] {
  std::array<Anchor, 256> anchors{};
  for (unsigned char c = '0'; c <= '9'; ++c) anchors[c] = Anchor::digit;
  for (const char c : {'A', 'J', '_', '-', '=', ':'}) anchors[static_cast<unsigned char>(c)] = Anchor::key;
  anchors['@'] = Anchor::at_sign;
  anchors['+'] = Anchor::plus;
  anchors['('] = Anchor::parenthesis;
  return anchors;
}();

class Finder {
 public:
  Finder(std::string_view text, TextKind kind, PrivateKinds kinds)
      : text_(text), kind_(kind), kinds_(kinds) {}

  std::vector<PrivateSpan> run() {
    for (std::size_t at = 0; at < text_.size();) {
      const Anchor anchor = kAnchors[static_cast<unsigned char>(text_[at])];
      if (anchor == Anchor::none) {
        ++at;
        continue;
      }
      if (const Found found = look(anchor, at)) {
        spans_.push_back(*found);
        floor_ = found->end;
        at = found->end;
      } else if (anchor == Anchor::digit) {
        while (at < text_.size() && is_digit(text_[at])) ++at;
      } else {
        ++at;
      }
    }
    return std::move(spans_);
  }

 private:
  bool wants(PrivateKind kind) const { return (kinds_ >> static_cast<unsigned>(kind) & 1u) != 0; }

  Found look(Anchor anchor, std::size_t at) const {
    Found found;
    switch (anchor) {
      case Anchor::at_sign:
        if (wants(PrivateKind::key)) found = find_key(text_, at, floor_);
        if (!found && wants(PrivateKind::email)) found = find_email(text_, at, floor_);
        break;
      case Anchor::digit:
        if (wants(PrivateKind::ip)) found = find_ip(text_, at);
        if (!found && wants(PrivateKind::phone) && kind_ == TextKind::text) found = find_phone(text_, at);
        break;
      case Anchor::plus:
        if (wants(PrivateKind::phone)) found = find_international_phone(text_, at, kind_);
        break;
      case Anchor::parenthesis:
        if (wants(PrivateKind::phone) && kind_ == TextKind::text) found = find_phone(text_, at);
        break;
      case Anchor::key:
        if (wants(PrivateKind::key)) found = find_key(text_, at, floor_);
        break;
      case Anchor::none:
        break;
    }
    return found;
  }

  std::string_view text_;
  TextKind kind_;
  PrivateKinds kinds_;
  std::size_t floor_ = 0;
  std::vector<PrivateSpan> spans_;
};

}  // namespace

std::string_view private_kind_name(PrivateKind kind) { return kNames[static_cast<std::size_t>(kind)]; }

std::vector<PrivateSpan> find_private(std::string_view text, TextKind kind, PrivateKinds kinds) {
  return Finder(text, kind, kinds).run();
}

std::string mask_private(std::string_view text, const std::vector<PrivateSpan>& spans) {
  std::string masked;
  masked.reserve(text.size());
  std::size_t at = 0;
  for (const PrivateSpan& span : spans) {
    masked += text.substr(at, span.begin - at);
    masked += kPlaceholders[static_cast<std::size_t>(span.kind)];
    at = span.end;
  }
  masked += text.substr(at);
  return masked;
}

}  // namespace castline::text
