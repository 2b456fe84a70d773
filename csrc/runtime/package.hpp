// An engine package: a folder, or the same as one file, whose package.json names every file, its size and its
// SHA-256.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.hpp"
#include "runtime/archive.hpp"
#include "runtime/model_config.hpp"

namespace castline {

/// The newest package.json that this runtime reads.
inline constexpr std::int64_t kPackageSchema = 1;

/// How keys and values are cached; `generation.kv` of package.json.
enum class CacheFormat { f32, int8 };

std::string_view name_of(CacheFormat format);

struct PackageFile {
  std::string path;  ///< relative to the package
  std::uint64_t size = 0;
  std::string sha256;
};

/// A TensorRT engine of a package.
struct PackageEngine {
  std::string path;     ///< its file, relative to the package
  std::string weights;  ///< f16, int8, …
  std::string library;  ///< the Python module that built it: tensorrt_rtx or tensorrt
  std::string version;  ///< of that library
  /// Such as "8.9"; none: for the GPU it was built on.
  std::vector<std::string> compute_capabilities = {};
};

/// The checked contents of package.json. compile/package.py writes what this reads.
class Package {
 public:
  /// Reads package.json in a folder, or in the one file that holds a package, and checks that every file it
  /// lists is there with its size. Throws a data error.
  explicit Package(const std::string& path);

  /// The folder, or the one file.
  const std::string& location() const { return location_; }
  const ModelConfig& model() const { return model_; }
  /// Positions that a sequence may have, at most.
  std::size_t max_context() const { return max_context_; }
  /// Of the cpu backend; TensorRT engines have their own.
  CacheFormat cache_format() const { return cache_format_; }
  const std::vector<std::uint32_t>& eos_ids() const { return eos_ids_; }
  std::optional<std::uint32_t> bos_id() const { return bos_id_; }
  const std::string& castline_version() const { return castline_version_; }
  const std::vector<PackageFile>& files() const { return files_; }

  /// In the order of the manifest.
  const std::vector<PackageEngine>& engines() const { return engines_; }

  bool has(const std::string& relative) const;
  /// Maps a file that the manifest lists; a data error that says `purpose` where it does not.
  MappedFile map(const std::string& relative, const std::string& purpose) const;
  /// Reads every file and compares its SHA-256. Throws a data error naming the first that differs.
  void verify() const;

 private:
  // Of a file that is there, or nothing.
  std::optional<std::uint64_t> size_of(const std::string& relative) const;
  MappedFile map_file(const std::string& relative) const;
  MappedFile open_manifest();
  void check_size(const PackageFile& file) const;

  std::string location_;
  std::optional<std::vector<ArchiveMember>> members_;  // of one file
  std::string castline_version_;
  ModelConfig model_;
  std::size_t max_context_ = 0;
  CacheFormat cache_format_ = CacheFormat::f32;
  std::vector<std::uint32_t> eos_ids_;
  std::optional<std::uint32_t> bos_id_;
  std::vector<PackageFile> files_;
  std::vector<PackageEngine> engines_;
};

}  // namespace castline
