// A file mapped read-only into memory: pages are read on demand and shared between processes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace castline {

class MappedFile {
 public:
  MappedFile() = default;
  /// Maps the whole file. Throws a device error when it cannot be opened or mapped.
  explicit MappedFile(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  std::string_view text() const { return {static_cast<const char*>(data_), size_}; }
  std::size_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace castline
