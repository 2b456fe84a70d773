#include "runtime/archive.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/error.hpp"

namespace castline {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kLocalHeader = 0x04034B50;
constexpr std::uint32_t kCentralHeader = 0x02014B50;
constexpr std::uint32_t kEnd = 0x06054B50;
constexpr std::uint32_t kEnd64 = 0x06064B50;
constexpr std::uint32_t kEnd64Locator = 0x07064B50;
constexpr std::uint64_t kLocalBytes = 30;
constexpr std::uint64_t kCentralBytes = 46;
constexpr std::uint64_t kEndBytes = 22;
constexpr std::uint64_t kEnd64Bytes = 56;
constexpr std::uint64_t kLocatorBytes = 20;
constexpr std::uint16_t kUtf8Flag = 0x0800;
constexpr std::uint16_t kZip64Field = 0x0001;
constexpr std::uint16_t kFull16 = 0xFFFF;  // in these, the value is in the ZIP64 record
constexpr std::uint32_t kFull32 = 0xFFFFFFFF;
constexpr std::size_t kMostMembers = 100'000;

// Little-endian numbers at an offset, never outside the file.
class Bytes {
 public:
  Bytes(std::span<const std::byte> data, const std::string& where) : data_(data), where_(where) {}

  std::uint64_t size() const { return data_.size(); }

  template <typename T>
  T at(std::uint64_t offset) const {
    T value = 0;
    std::memcpy(&value, slice(offset, sizeof value).data(), sizeof value);
    return value;
  }

  std::string text(std::uint64_t offset, std::uint64_t length) const {
    const std::span<const std::byte> part = slice(offset, length);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

  void expect(bool ok, const std::string& rule) const {
    if (!ok)
      throw_data("[" + where_ + "] expected " + rule + "; the file is damaged, or no castline package");
  }

 private:
  std::span<const std::byte> slice(std::uint64_t offset, std::uint64_t length) const {
    expect(offset <= data_.size() && length <= data_.size() - offset,
           std::to_string(length) + " bytes at " + std::to_string(offset) + ", but the file ends at " +
               std::to_string(data_.size()));
    return data_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
  }

  std::span<const std::byte> data_;
  const std::string& where_;
};

struct Directory {
  std::uint64_t begin;
  std::uint64_t end;
  std::uint64_t members;
};

Directory find_directory(const Bytes& file) {
  file.expect(file.size() >= kEndBytes, "a zip archive");
  const std::uint64_t at = file.size() - kEndBytes;
  file.expect(file.at<std::uint32_t>(at) == kEnd && file.at<std::uint16_t>(at + 20) == 0,
              "a zip archive without a comment, whose last 22 bytes are its end record");
  file.expect(file.at<std::uint32_t>(at + 4) == 0, "an archive in one part");
  const auto members = file.at<std::uint16_t>(at + 10);
  const auto size = file.at<std::uint32_t>(at + 12);
  const auto begin = file.at<std::uint32_t>(at + 16);
  file.expect(file.at<std::uint16_t>(at + 8) == members, "one number of members in the end record");
  if (members != kFull16 && size != kFull32 && begin != kFull32) {
    file.expect(std::uint64_t{begin} + size == at, "the directory to end where the end record begins");
    return {begin, at, members};
  }
  file.expect(at >= kLocatorBytes + kEnd64Bytes, "a ZIP64 end record");
  const std::uint64_t locator = at - kLocatorBytes;
  const std::uint64_t end64 = locator - kEnd64Bytes;
  file.expect(file.at<std::uint32_t>(locator) == kEnd64Locator && file.at<std::uint32_t>(locator + 4) == 0 &&
                  file.at<std::uint64_t>(locator + 8) == end64 && file.at<std::uint32_t>(locator + 16) <= 1 &&
                  file.at<std::uint32_t>(end64) == kEnd64 &&
                  file.at<std::uint64_t>(end64 + 4) == kEnd64Bytes - 12 &&
                  file.at<std::uint64_t>(end64 + 16) == 0,
              "a ZIP64 end record before its locator");
  const Directory found = {file.at<std::uint64_t>(end64 + 48), end64, file.at<std::uint64_t>(end64 + 32)};
  file.expect(file.at<std::uint64_t>(end64 + 24) == found.members && found.begin <= end64 &&
                  file.at<std::uint64_t>(end64 + 40) == end64 - found.begin,
              "the directory to end where the ZIP64 end record begins");
  return found;
}

// The numbers of a ZIP64 extra field, in order; none where there is no such field.
std::vector<std::uint64_t> zip64_numbers(const Bytes& file, std::uint64_t begin, std::uint64_t length) {
  const std::uint64_t end = begin + length;
  for (std::uint64_t at = begin; at < end;) {
    file.expect(end - at >= 4, "whole extra fields");
    const auto size = file.at<std::uint16_t>(at + 2);
    file.expect(size <= end - at - 4, "whole extra fields");
    if (file.at<std::uint16_t>(at) == kZip64Field) {
      std::vector<std::uint64_t> numbers;
      for (std::uint64_t n = 0; n + 8 <= size; n += 8) numbers.push_back(file.at<std::uint64_t>(at + 4 + n));
      return numbers;
    }
    at += 4 + std::uint64_t{size};
  }
  return {};
}

// A member's own header says what the directory says, and its data lies behind it.
std::uint64_t data_offset(const Bytes& file, std::uint64_t header, const ArchiveMember& member) {
  const std::string of = " in the header of " + member.name;
  file.expect(file.at<std::uint32_t>(header) == kLocalHeader, "a member's signature" + of);
  const auto name_length = file.at<std::uint16_t>(header + 26);
  const auto extra_length = file.at<std::uint16_t>(header + 28);
  file.expect((file.at<std::uint16_t>(header + 6) & ~kUtf8Flag) == 0 &&
                  file.at<std::uint16_t>(header + 8) == 0 &&
                  file.text(header + kLocalBytes, name_length) == member.name,
              "a stored member of this name" + of);
  std::uint64_t stored = file.at<std::uint32_t>(header + 18);
  std::uint64_t size = file.at<std::uint32_t>(header + 22);
  if (stored == kFull32 && size == kFull32) {
    const auto numbers = zip64_numbers(file, header + kLocalBytes + name_length, extra_length);
    file.expect(numbers.size() == 2, "two ZIP64 sizes" + of);
    size = numbers[0];
    stored = numbers[1];
  }
  file.expect(file.at<std::uint32_t>(header + 14) == member.crc32 && size == member.size && stored == size,
              "the directory's size and checksum" + of);
  return header + kLocalBytes + name_length + extra_length;
}

}  // namespace

bool stays_inside(const std::string& relative) {
  const fs::path path(relative);
  if (relative.empty() || path.is_absolute() || relative.find('\0') != std::string::npos) return false;
  return std::none_of(path.begin(), path.end(), [](const fs::path& part) { return part == ".."; });
}

std::vector<ArchiveMember> read_archive(std::span<const std::byte> data, const std::string& where) {
  const Bytes file(data, where);
  const Directory directory = find_directory(file);
  file.expect(directory.members <= kMostMembers, "at most " + std::to_string(kMostMembers) + " members");
  std::vector<ArchiveMember> members;
  std::set<std::string> names;
  std::uint64_t at = directory.begin;
  std::uint64_t free = 0;  // where the next member may begin
  for (std::uint64_t i = 0; i < directory.members; ++i) {
    file.expect(directory.end - at >= kCentralBytes && file.at<std::uint32_t>(at) == kCentralHeader,
                "entry " + std::to_string(i) + " of the directory at " + std::to_string(at));
    const auto name_length = file.at<std::uint16_t>(at + 28);
    const auto extra_length = file.at<std::uint16_t>(at + 30);
    const std::uint64_t length = kCentralBytes + name_length + extra_length;
    file.expect(directory.end - at >= length, "a whole entry in the directory");
    ArchiveMember member;
    member.name = file.text(at + kCentralBytes, name_length);
    file.expect(stays_inside(member.name) && member.name.back() != '/', "paths of files inside the package");
    file.expect(names.insert(member.name).second, "every member once, but found " + member.name + " twice");
    file.expect(file.at<std::uint16_t>(at + 32) == 0 && file.at<std::uint16_t>(at + 34) == 0,
                "no comment, and one part, in the entry of " + member.name);
    file.expect((file.at<std::uint16_t>(at + 8) & ~kUtf8Flag) == 0 && file.at<std::uint16_t>(at + 10) == 0,
                member.name + " stored as it is, neither compressed nor encrypted");
    member.crc32 = file.at<std::uint32_t>(at + 16);
    std::uint64_t stored = file.at<std::uint32_t>(at + 20);
    member.size = file.at<std::uint32_t>(at + 24);
    std::uint64_t header = file.at<std::uint32_t>(at + 42);
    const auto numbers = zip64_numbers(file, at + kCentralBytes + name_length, extra_length);
    std::size_t next = 0;
    for (std::uint64_t* value : {&member.size, &stored, &header}) {
      if (*value != kFull32) continue;
      file.expect(next < numbers.size(), "the ZIP64 sizes of " + member.name);
      *value = numbers[next++];
    }
    file.expect(header >= free && header < directory.begin, "members in the order of the directory");
    member.offset = data_offset(file, header, member);
    file.expect(member.offset <= directory.begin && member.size <= directory.begin - member.offset,
                member.name + " to end before the directory");
    file.expect(member.offset % kArchiveAlignment == 0,
                member.name + " at a multiple of " + std::to_string(kArchiveAlignment));
    free = member.offset + member.size;
    at += length;
    members.push_back(std::move(member));
  }
  file.expect(at == directory.end, "nothing behind the last entry of the directory");
  return members;
}

}  // namespace castline
