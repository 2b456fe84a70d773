// The words of ASCII text, many at a time: what Shingler does with most of the text of most languages in
// Latin script.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/cpu_features.hpp"
#include "text/ascii_kernels.hpp"

namespace castline::text {

/// The length of the longest prefix of ASCII bytes.
std::size_t ascii_prefix(std::string_view text);

/// Finds words by bit masks over blocks of 64 bytes, keeping its working memory.
class AsciiWords {
 public:
  explicit AsciiWords(kernels::CpuLevel level = kernels::cpu_level()) : level_(level) {}

  /// Appends the hash_bytes of every word (tokens.hpp, kind text) of `ascii` in lower case. Words do not
  /// continue beyond its ends.
  void hash(std::string_view ascii, std::vector<std::uint64_t>& hashes);

 private:
  void classify(std::string_view ascii);
  std::size_t find_edges(std::size_t blocks);

  kernels::CpuLevel level_;
  std::vector<char> lower_;
  std::vector<AsciiMasks> masks_;
  std::vector<std::uint32_t> edges_;  // begin and end of every word, in turns
};

}  // namespace castline::text
