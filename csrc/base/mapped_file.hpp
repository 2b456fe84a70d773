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
  /// Maps `size` bytes from `offset` on, which keep their alignment up to that of a page. A device error
  /// where the file ends before.
  MappedFile(const std::string& path, std::size_t offset, std::size_t size);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  std::string_view text() const { return {static_cast<const char*>(data_), size_}; }
  std::size_t size() const { return size_; }

 private:
  void map(const std::string& path, std::size_t offset, std::size_t size, bool whole);

  void* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t before_ = 0;  // mapped bytes before data_: a mapping begins at a page
};

}  // namespace castline
