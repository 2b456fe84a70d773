#include "runtime/package.hpp"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/crc32.hpp"
#include "base/error.hpp"
#include "base/sha256.hpp"

namespace castline {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "package.json";
constexpr std::string_view kArchiveMagic = "PK\x03\x04";

std::uint32_t token_id(const json::Value& value, std::size_t vocab_size, const std::string& where) {
  const std::int64_t id = value.as_integer(where);
  if (id < 0 || static_cast<std::uint64_t>(id) >= vocab_size) {
    throw_data("[" + where + "] expected a token id below vocab_size = " + std::to_string(vocab_size) +
               ", but got " + std::to_string(id));
  }
  return static_cast<std::uint32_t>(id);
}

CacheFormat read_cache_format(const json::Value& generation, const std::string& where) {
  const json::Value* kv = generation.find("kv");
  if (kv == nullptr) return CacheFormat::f32;
  const std::string& name = kv->as_string(where + ".kv");
  for (const CacheFormat format : {CacheFormat::f32, CacheFormat::int8}) {
    if (name_of(format) == name) return format;
  }
  throw_data("[" + where + ".kv] expected f32 or int8, but got '" + name + "'");
}

std::vector<PackageFile> read_files(const json::Value& manifest, const std::string& where) {
  std::vector<PackageFile> files;
  for (const auto& [path, entry] : manifest.at("files", where).as_object(where + ".files")) {
    const std::string at = where + ".files." + path;
    if (!stays_inside(path)) throw_data("[" + at + "] expected a path inside the package");
    const std::int64_t size = entry.at("size", at).as_integer(at + ".size");
    if (size < 0) throw_data("[" + at + ".size] expected a size, but got " + std::to_string(size));
    files.push_back(
        {path, static_cast<std::uint64_t>(size), entry.at("sha256", at).as_string(at + ".sha256")});
  }
  return files;
}

std::vector<PackageEngine> read_engines(const json::Value& manifest, const std::string& where) {
  std::vector<PackageEngine> engines;
  for (const auto& [name, backend] : manifest.at("backends", where).as_object(where + ".backends")) {
    const json::Value* engine = backend.find("engine");
    if (engine == nullptr || engine->is_null()) continue;
    const std::string at = where + ".backends." + name;
    const auto text = [&](const json::Value& object, const char* key) {
      return object.at(key, at).as_string(at + "." + key);
    };
    PackageEngine found = {text(backend, "file"),
                           text(backend, "weights"),
                           text(*engine, "library"),
                           text(*engine, "version"),
                           {}};
    for (const json::Value& served :
         engine->at("compute_capabilities", at).as_array(at + ".compute_capabilities")) {
      found.compute_capabilities.push_back(served.as_string(at + ".compute_capabilities"));
    }
    engines.push_back(std::move(found));
  }
  return engines;
}

}  // namespace

std::string_view name_of(CacheFormat format) { return format == CacheFormat::f32 ? "f32" : "int8"; }

Package::Package(const std::string& path) : location_(path) {
  const std::string where = (fs::path(path) / kManifest).string();
  const MappedFile file = open_manifest();
  const json::Value manifest = json::parse(file.text(), where);
  const std::int64_t schema = manifest.at("schema_version", where).as_integer(where + ": schema_version");
  if (schema > kPackageSchema) {
    throw_data("[package] expected schema_version " + std::to_string(kPackageSchema) + " or older in " +
               where + ", but got " + std::to_string(schema) +
               ": it was made by a newer castline; update castline, or compile the checkpoint with this one");
  }
  if (schema < 1) throw_data("[package] expected schema_version 1, but got " + std::to_string(schema));
  castline_version_ = manifest.at("castline_version", where).as_string(where + ": castline_version");

  const json::Value& generation = manifest.at("generation", where);
  const std::string at = where + ": generation";
  const std::int64_t context = generation.at("max_context", at).as_integer(at + ".max_context");
  if (context < 1)
    throw_data("[" + at + ".max_context] expected at least 1, but got " + std::to_string(context));
  max_context_ = static_cast<std::size_t>(context);
  std::optional<double> rope_theta;
  if (const json::Value* base = generation.find("rope_theta"); base != nullptr && !base->is_null()) {
    rope_theta = base->as_number(at + ".rope_theta");
    if (!(*rope_theta > 0.0)) throw_data("[" + at + ".rope_theta] expected a number above 0");
  }
  model_ = ModelConfig::from_json(manifest.at("model", where), max_context_, rope_theta, where + ": model");
  for (const json::Value& id : generation.at("eos_ids", at).as_array(at + ".eos_ids")) {
    eos_ids_.push_back(token_id(id, model_.vocab_size, at + ".eos_ids"));
  }
  if (const json::Value* bos = generation.find("bos_id"); bos != nullptr && !bos->is_null()) {
    bos_id_ = token_id(*bos, model_.vocab_size, at + ".bos_id");
  }
  cache_format_ = read_cache_format(generation, at);
  files_ = read_files(manifest, where);
  engines_ = read_engines(manifest, where);
  for (const PackageFile& listed : files_) check_size(listed);
  if (!members_) return;
  for (const ArchiveMember& member : *members_) {
    if (member.name != kManifest && !has(member.name)) {
      throw_data("[package] expected only the files that package.json lists in " + location_ + ", but got " +
                 member.name);
    }
  }
}

bool Package::has(const std::string& relative) const {
  return std::any_of(files_.begin(), files_.end(), [&](const PackageFile& f) { return f.path == relative; });
}

MappedFile Package::map(const std::string& relative, const std::string& purpose) const {
  if (!has(relative)) {
    throw_data("[package] expected " + relative + " for " + purpose + ", but package.json in " + location_ +
               " lists no such file");
  }
  return map_file(relative);
}

void Package::verify() const {
  for (const PackageFile& file : files_) {
    check_size(file);
    const std::string found = sha256_hex(map_file(file.path).bytes());
    if (found != file.sha256) {
      throw_data("[package] expected " + file.path + " to have the SHA-256 " + file.sha256 +
                 " that package.json gives, but it has " + found + " (in " + location_ +
                 "); a byte has changed, compile or copy the package again");
    }
  }
}

MappedFile Package::open_manifest() {
  std::error_code code;
  const bool one_file = fs::is_regular_file(location_, code);
  if (one_file) {
    const MappedFile whole(location_);
    if (whole.text().starts_with(kArchiveMagic)) members_ = read_archive(whole.bytes(), location_);
  }
  if ((one_file && !members_) || !size_of(kManifest)) {
    throw_data("[package] expected a package, one file or a folder with package.json, at " + location_ +
               ", but there is none; `castline compile` makes one");
  }
  MappedFile manifest = map_file(kManifest);
  if (members_) {
    const auto named = [](const ArchiveMember& member) { return member.name == kManifest; };
    if (crc32(manifest.bytes()) != std::find_if(members_->begin(), members_->end(), named)->crc32) {
      throw_data("[package] expected package.json in " + location_ +
                 " to have the checksum of its entry, but it has another; the file was changed");
    }
  }
  return manifest;
}

std::optional<std::uint64_t> Package::size_of(const std::string& relative) const {
  if (members_) {
    for (const ArchiveMember& member : *members_) {
      if (member.name == relative) return member.size;
    }
    return std::nullopt;
  }
  std::error_code code;
  const fs::path path = fs::path(location_) / relative;
  if (!fs::is_regular_file(path, code)) return std::nullopt;
  const std::uintmax_t size = fs::file_size(path, code);
  if (code) return std::nullopt;
  return size;
}

MappedFile Package::map_file(const std::string& relative) const {
  if (!members_) return MappedFile((fs::path(location_) / relative).string());
  for (const ArchiveMember& member : *members_) {
    if (member.name == relative) {
      return {location_, static_cast<std::size_t>(member.offset), static_cast<std::size_t>(member.size)};
    }
  }
  throw_data("[package] expected the file " + relative + " in " + location_ + ", but it is missing");
}

void Package::check_size(const PackageFile& file) const {
  const std::optional<std::uint64_t> size = size_of(file.path);
  if (!size) {
    throw_data("[package] expected the file " + file.path + ", which package.json lists, in " + location_ +
               ", but it is missing");
  }
  if (*size != file.size) {
    throw_data("[package] expected " + file.path + " to have " + std::to_string(file.size) +
               " bytes as package.json says, but it has " + std::to_string(*size) + " (in " + location_ +
               "); the package is damaged, compile or copy it again");
  }
}

}  // namespace castline
