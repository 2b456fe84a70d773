// A package as one file: a zip archive whose members are stored as they are, so that weights are mapped from
// it.
//
// Read are archives as compile/one_file.py writes them: nothing compressed or encrypted, no comment, every
// member once, in the order of the file, its data at a multiple of 4096; ZIP64 where sizes ask for it. The
// format is PKWARE's APPNOTE.TXT 6.3; `unzip` reads it, too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace castline {

/// Members begin at multiples of this.
inline constexpr std::uint64_t kArchiveAlignment = 4096;

struct ArchiveMember {
  std::string name;          ///< a relative path that stays inside
  std::uint64_t offset = 0;  ///< of its data in the file
  std::uint64_t size = 0;
  std::uint32_t crc32 = 0;
};

/// Reads the directory of an archive and checks it against every member's own header; the data is left alone.
/// `where` names the file in messages. Throws a data error.
std::vector<ArchiveMember> read_archive(std::span<const std::byte> file, const std::string& where);

/// Whether a relative path names something inside the folder it counts from.
bool stays_inside(const std::string& relative);

}  // namespace castline
