#include "tokenizer/tokenizer_json.hpp"

#include <unordered_set>
#include <utility>

#include "base/error.hpp"
#include "base/json.hpp"
#include "tokenizer/nfc.hpp"

namespace castline::tokenizer {
namespace {

using json::Value;

constexpr std::string_view kWhere = "tokenizer.json";
constexpr std::size_t kMaxBytes = std::size_t{1} << 30;

[[noreturn]] void fail(const std::string& rule, const std::string& found) {
  throw_data("[" + std::string(kWhere) + "] " + rule + ", but got " + found);
}

/// The member, or nullptr where it is missing or null.
const Value* optional_member(const Value& object, std::string_view key) {
  const Value* member = object.find(key);
  return member == nullptr || member->is_null() ? nullptr : member;
}

bool flag(const Value& object, std::string_view key, bool otherwise) {
  const Value* member = optional_member(object, key);
  return member == nullptr ? otherwise : member->as_bool("tokenizer.json: " + std::string(key));
}

const std::string& type_of(const Value& component) {
  return component.at("type", kWhere).as_string("tokenizer.json: type");
}

std::uint32_t read_id(const Value& value, std::string_view what) {
  const std::int64_t id = value.as_integer("tokenizer.json: id of '" + std::string(what) + "'");
  if (id < 0 || id >= PairTable::kMaxIds) {
    fail("expected ids from 0 to " + std::to_string(PairTable::kMaxIds - 1),
         std::to_string(id) + " for '" + std::string(what) + "'");
  }
  return static_cast<std::uint32_t>(id);
}

std::uint32_t token_id(const Vocabulary& vocabulary, std::string_view token, const char* where) {
  const auto id = vocabulary.find(token);
  if (!id) {
    fail(std::string("expected ") + where + " to use tokens of the vocabulary",
         "'" + std::string(token) + "'");
  }
  return *id;
}

void add_token(Vocabulary& vocabulary, const std::string& token, std::uint32_t id, Origin origin) {
  if (vocabulary.add(token, id, origin)) return;
  if (vocabulary.find(token)) fail("expected every token once", "'" + token + "' twice");
  fail("expected an id of its own for the token '" + token + "'", std::to_string(id));
}

void refuse(const Value& model, std::string_view key) {
  const Value* member = optional_member(model, key);
  if (member == nullptr) return;
  if (member->is_string() && member->as_string(kWhere).empty()) return;
  if (member->is_bool() && !member->as_bool(kWhere)) return;
  if (member->is_number() && member->as_number(kWhere) == 0) return;
  fail("expected a byte-level BPE model without '" + std::string(key) + "', which is not supported",
       "a value for it");
}

void read_vocabulary(const Value& model, TokenizerFile& file) {
  const auto& members = model.at("vocab", "tokenizer.json: model").as_object("tokenizer.json: vocab");
  if (members.empty()) fail("expected a vocabulary with tokens", "an empty one");
  file.vocabulary.reserve(members.size());
  for (const auto& [token, id] : members)
    add_token(file.vocabulary, token, read_id(id, token), Origin::model);
}

/// The two parts of a merge, written ["a", "b"] or, in older files, "a b".
std::pair<std::string_view, std::string_view> merge_parts(const Value& value) {
  constexpr std::string_view where = "tokenizer.json: merges";
  if (value.is_array()) {
    const auto& parts = value.as_array(where);
    if (parts.size() != 2) fail("expected a merge to have two parts", std::to_string(parts.size()));
    return {parts[0].as_string(where), parts[1].as_string(where)};
  }
  const std::string_view text = value.as_string(where);
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
    fail("expected a merge to be two tokens with a space between them", "'" + std::string(text) + "'");
  }
  return {text.substr(0, space), text.substr(space + 1)};
}

void read_merges(const Value& model, TokenizerFile& file) {
  const auto& list = model.at("merges", "tokenizer.json: model").as_array("tokenizer.json: merges");
  if (list.size() >= PairTable::kMaxMerges) {
    fail("expected fewer than " + std::to_string(PairTable::kMaxMerges) + " merges",
         std::to_string(list.size()));
  }
  file.merges.reserve(list.size());
  std::string joined;
  for (const Value& value : list) {
    if (value.is_string() && value.as_string(kWhere).starts_with("#version")) continue;
    const auto [left, right] = merge_parts(value);
    joined.assign(left).append(right);
    file.merges.push_back({token_id(file.vocabulary, left, "merges"),
                           token_id(file.vocabulary, right, "merges"),
                           token_id(file.vocabulary, joined, "merges")});
  }
}

void read_model(const Value& root, TokenizerFile& file) {
  const Value& model = root.at("model", kWhere);
  // Files written before the field existed are BPE where they have merges.
  if (const Value* type = model.find("type"); type != nullptr) {
    const std::string& name = type->as_string("tokenizer.json: model type");
    if (name != "BPE") fail("expected the model BPE", "'" + name + "', which is not supported");
  }
  for (const std::string_view key :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"}) {
    refuse(model, key);
  }
  file.ignore_merges = flag(model, "ignore_merges", false);
  file.fuse_unknown = flag(model, "fuse_unk", false);
  read_vocabulary(model, file);
  read_merges(model, file);
  if (const Value* unknown = optional_member(model, "unk_token")) {
    file.unknown = token_id(file.vocabulary, unknown->as_string("tokenizer.json: unk_token"), "unk_token");
  }
}

/// Hugging Face ignores the ids written with added tokens: a token of the vocabulary keeps its id, others
/// get the next free one. A file that says otherwise is refused, for its ids would mean two things.
void read_added_tokens(const Value& root, TokenizerFile& file) {
  const Value* list = optional_member(root, "added_tokens");
  if (list == nullptr) return;
  std::unordered_set<std::string> seen;
  auto next_id = static_cast<std::uint32_t>(file.vocabulary.count());
  const auto& values = list->as_array("tokenizer.json: added_tokens");
  file.added_tokens.reserve(values.size());
  for (const Value& value : values) {
    const std::string where = "tokenizer.json: added_tokens";
    AddedToken token;
    token.content = value.at("content", where).as_string(where);
    if (token.content.empty()) continue;
    token.id = read_id(value.at("id", where), token.content);
    token.single_word = flag(value, "single_word", false);
    token.lstrip = flag(value, "lstrip", false);
    token.rstrip = flag(value, "rstrip", false);
    token.special = flag(value, "special", false);
    token.normalized = flag(value, "normalized", !token.special);
    if (!seen.insert(token.content).second) {
      fail("expected every added token once", "'" + token.content + "' twice");
    }
    const auto known = file.vocabulary.find(token.content);
    const std::uint32_t id = known ? *known : next_id++;
    if (token.id != id) {
      fail("expected the added token '" + token.content + "' to have the id " + std::to_string(id) +
               ", which Hugging Face tokenizers gives it",
           std::to_string(token.id));
    }
    if (!known) add_token(file.vocabulary, token.content, id, Origin::added);
    if (file.nfc && token.normalized) {
      std::string normalized;
      token.content = std::string(to_nfc(token.content, normalized));
    }
    file.vocabulary.mark_added(id, token.content, token.special);
    file.added_tokens.push_back(std::move(token));
  }
}

void read_normalizer(const Value& component, TokenizerFile& file) {
  const std::string& type = type_of(component);
  if (type == "Sequence") {
    for (const Value& part : component.at("normalizers", kWhere).as_array("tokenizer.json: normalizers")) {
      read_normalizer(part, file);
    }
  } else if (type == "NFC") {
    file.nfc = true;
  } else {
    fail("expected no normalizer but NFC", "'" + type + "', which is not supported");
  }
}

Step split_step(const Value& component) {
  const std::string where = "tokenizer.json: Split";
  const Value* regex = component.at("pattern", where).find("Regex");
  if (regex == nullptr) fail("expected Split with a regular expression", "another kind of pattern");
  const std::string& text = regex->as_string(where);
  const std::optional<Step> step = find_pattern(text);
  if (!step)
    fail("expected Split with the pattern of GPT-2, cl100k, Llama 3 or Qwen 2", "the pattern " + text);
  // The patterns cover all text, so keeping the matches and removing the rest is the same as isolating.
  const std::string& behavior = component.at("behavior", where).as_string(where);
  const bool inverted = component.at("invert", where).as_bool(where);
  if (behavior != "Isolated" && !(behavior == "Removed" && inverted)) {
    fail("expected Split with the behavior 'Isolated'", "'" + behavior + "', which is not supported");
  }
  return *step;
}

void read_pre_tokenizer(const Value& component, std::vector<Step>& steps, bool& byte_level) {
  const std::string& type = type_of(component);
  if (byte_level) fail("expected ByteLevel to be the last pre-tokenizer", "'" + type + "' after it");
  if (type == "Sequence") {
    for (const Value& part :
         component.at("pretokenizers", kWhere).as_array("tokenizer.json: pretokenizers")) {
      read_pre_tokenizer(part, steps, byte_level);
    }
  } else if (type == "ByteLevel") {
    byte_level = true;
    if (flag(component, "add_prefix_space", true)) steps.push_back(Step::prefix_space);
    if (flag(component, "use_regex", true)) steps.push_back(Step::gpt2);
  } else if (type == "Digits") {
    steps.push_back(flag(component, "individual_digits", false) ? Step::digits : Step::number_runs);
  } else if (type == "Split") {
    steps.push_back(split_step(component));
  } else {
    fail("expected the pre-tokenizers ByteLevel, Digits, Split or a Sequence of them",
         "'" + type + "', which is not supported");
  }
}

void read_template(const Value& component, TokenizerFile& file) {
  const std::string where = "tokenizer.json: TemplateProcessing";
  const Value& special = component.at("special_tokens", where);
  bool after_text = false;
  for (const Value& item : component.at("single", where).as_array(where)) {
    if (item.find("Sequence") != nullptr) {
      if (after_text) fail("expected TemplateProcessing with the text once in 'single'", "it twice");
      after_text = true;
      continue;
    }
    const std::string& name = item.at("SpecialToken", where).at("id", where).as_string(where);
    for (const Value& id : special.at(name, where).at("ids", where).as_array(where)) {
      const std::uint32_t read = read_id(id, name);
      if (!file.vocabulary.has(read)) {
        fail("expected TemplateProcessing to use ids of the vocabulary",
             std::to_string(read) + " for '" + name + "'");
      }
      (after_text ? file.after : file.before).push_back(read);
    }
  }
  if (!after_text) fail("expected TemplateProcessing with the text in 'single'", "special tokens only");
}

void read_post_processor(const Value& component, TokenizerFile& file, bool& has_template) {
  const std::string& type = type_of(component);
  if (type == "Sequence") {
    for (const Value& part : component.at("processors", kWhere).as_array("tokenizer.json: processors")) {
      read_post_processor(part, file, has_template);
    }
  } else if (type == "TemplateProcessing") {
    if (has_template) fail("expected one TemplateProcessing", "two");
    has_template = true;
    read_template(component, file);
  } else if (type != "ByteLevel") {  // ByteLevel moves offsets only
    fail("expected the post-processors ByteLevel, TemplateProcessing or a Sequence of them",
         "'" + type + "', which is not supported");
  }
}

void read_decoder(const Value& root) {
  const Value* decoder = optional_member(root, "decoder");
  const std::string type = decoder == nullptr ? "none" : type_of(*decoder);
  if (type != "ByteLevel") fail("expected the decoder ByteLevel", "'" + type + "', which is not supported");
}

}  // namespace

TokenizerFile read_tokenizer_json(std::string_view json) {
  if (json.size() >= kMaxBytes) fail("expected a file below 1 GiB", std::to_string(json.size()) + " bytes");
  const Value root = json::parse(json, kWhere);
  TokenizerFile file;
  read_model(root, file);
  if (const Value* component = optional_member(root, "normalizer")) read_normalizer(*component, file);
  read_added_tokens(root, file);
  bool byte_level = false;
  if (const Value* component = optional_member(root, "pre_tokenizer")) {
    read_pre_tokenizer(*component, file.steps, byte_level);
  }
  if (!byte_level) fail("expected a byte-level tokenizer (pre-tokenizer ByteLevel)", "none");
  bool has_template = false;
  if (const Value* component = optional_member(root, "post_processor")) {
    read_post_processor(*component, file, has_template);
  }
  read_decoder(root);
  return file;
}

}  // namespace castline::tokenizer
