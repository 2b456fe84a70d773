#include "base/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace castline {

MappedFile::MappedFile(const std::string& path) { map(path, 0, 0, true); }

MappedFile::MappedFile(const std::string& path, std::size_t offset, std::size_t size) {
  map(path, offset, size, false);
}

void MappedFile::map(const std::string& path, std::size_t offset, std::size_t size, bool whole) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    throw_device("[open] expected a readable file at " + path + ", but got: " + std::strerror(errno));
  struct stat info{};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    throw_device("[open] expected a regular file at " + path + ", but got something else");
  }
  const auto length = static_cast<std::size_t>(info.st_size);
  if (whole) size = length;
  if (offset > length || size > length - offset) {
    ::close(fd);
    throw_device("[map] expected " + std::to_string(size) + " bytes at " + std::to_string(offset) + " in " +
                 path + ", but it ends at " + std::to_string(length));
  }
  if (size > 0) {
    const std::size_t before = offset % static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* data =
        ::mmap(nullptr, size + before, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(offset - before));
    if (data == MAP_FAILED) {
      const int code = errno;
      ::close(fd);
      throw_device("[map] expected to map " + path + ", but got: " + std::strerror(code));
    }
    data_ = static_cast<std::byte*>(data) + before;
    size_ = size;
    before_ = before;
  }
  ::close(fd);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      before_(std::exchange(other.before_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(before_, other.before_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(static_cast<std::byte*>(data_) - before_, size_ + before_);
}

}  // namespace castline
