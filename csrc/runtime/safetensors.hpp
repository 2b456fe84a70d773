// Reading the safetensors format: 8 bytes little-endian header length, a JSON header, then the data.
// https://github.com/huggingface/safetensors#format
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace castline {

/// The element types that the runtime uses; a file with another one is refused, and the message names it.
enum class DataType { f32, f16, bf16, i8, u8 };

std::size_t size_of(DataType type);
std::string_view name_of(DataType type);

/// A tensor in place: `data` points into the file.
struct TensorView {
  DataType type;
  std::vector<std::size_t> shape;
  std::span<const std::byte> data;

  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(data.data());
  }
};

/// The tensors of a safetensors file that someone else keeps in memory.
class Safetensors {
 public:
  /// Reads the header of `file`; `where` names the file in messages. Every tensor lies inside the file, has
  /// as many bytes as its shape says, and starts at a multiple of its element size. Throws a data error.
  Safetensors(std::span<const std::byte> file, std::string where);

  /// The tensor `name`, or a data error that names it.
  const TensorView& at(const std::string& name) const;
  const TensorView* find(const std::string& name) const;
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::string& where() const { return where_; }

 private:
  std::string where_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace castline
