#include "runtime/safetensors.hpp"

#include <bit>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "base/json.hpp"

namespace castline {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian, and read in place");

constexpr std::size_t kLengthBytes = 8;

DataType data_type(const std::string& name, const std::string& where) {
  for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16, DataType::i8, DataType::u8}) {
    if (name_of(type) == name) return type;
  }
  throw_data("[" + where + "] expected the type F32, F16, BF16, I8 or U8, but got " + name +
             "; compile the package with a castline whose runtime knows it");
}

// shape's product times the element size, refusing what does not fit (the header is not trusted).
std::size_t byte_count(const std::vector<std::size_t>& shape, DataType type, const std::string& where) {
  std::size_t bytes = size_of(type);
  for (const std::size_t extent : shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes)) {
      throw_data("[" + where + "] expected a shape that fits the file, but its product overflows");
    }
  }
  return bytes;
}

std::size_t as_size(const json::Value& value, const std::string& where) {
  const std::int64_t n = value.as_integer(where);
  if (n < 0)
    throw_data("[" + where + "] expected a number that is not negative, but got " + std::to_string(n));
  return static_cast<std::size_t>(n);
}

TensorView read_tensor(const json::Value& entry, std::span<const std::byte> data, const std::string& where) {
  TensorView tensor;
  tensor.type = data_type(entry.at("dtype", where).as_string(where), where);
  for (const json::Value& extent : entry.at("shape", where).as_array(where)) {
    tensor.shape.push_back(as_size(extent, where));
  }
  const json::Array& offsets = entry.at("data_offsets", where).as_array(where);
  if (offsets.size() != 2)
    throw_data("[" + where + "] expected two data_offsets, but got " + std::to_string(offsets.size()));
  const std::size_t begin = as_size(offsets[0], where);
  const std::size_t end = as_size(offsets[1], where);
  if (begin > end || end > data.size()) {
    throw_data("[" + where + "] expected data_offsets within the " + std::to_string(data.size()) +
               " bytes of data, but got " + std::to_string(begin) + " to " + std::to_string(end) +
               "; the file is cut short or damaged");
  }
  const std::size_t bytes = byte_count(tensor.shape, tensor.type, where);
  if (end - begin != bytes) {
    throw_data("[" + where + "] expected " + std::to_string(bytes) + " bytes for its shape, but got " +
               std::to_string(end - begin));
  }
  tensor.data = data.subspan(begin, bytes);
  if (reinterpret_cast<std::uintptr_t>(tensor.data.data()) % size_of(tensor.type) != 0) {
    throw_data("[" + where + "] expected data aligned to its element size, but it starts at offset " +
               std::to_string(begin) + " of the data");
  }
  return tensor;
}

}  // namespace

std::size_t size_of(DataType type) {
  switch (type) {
    case DataType::f32:
      return 4;
    case DataType::f16:
    case DataType::bf16:
      return 2;
    case DataType::i8:
    case DataType::u8:
      return 1;
  }
  return 0;
}

std::string_view name_of(DataType type) {
  switch (type) {
    case DataType::f32:
      return "F32";
    case DataType::f16:
      return "F16";
    case DataType::bf16:
      return "BF16";
    case DataType::i8:
      return "I8";
    case DataType::u8:
      return "U8";
  }
  return "";
}

Safetensors::Safetensors(std::span<const std::byte> file, std::string where) : where_(std::move(where)) {
  std::uint64_t length = 0;
  if (file.size() < kLengthBytes) {
    throw_data("[" + where_ + "] expected a safetensors file, but got " + std::to_string(file.size()) +
               " bytes");
  }
  std::memcpy(&length, file.data(), kLengthBytes);
  if (length > file.size() - kLengthBytes) {
    throw_data("[" + where_ + "] expected a header of at most " + std::to_string(file.size() - kLengthBytes) +
               " bytes, but its length says " + std::to_string(length) +
               "; the file is cut short, or is not safetensors");
  }
  const std::span<const std::byte> header = file.subspan(kLengthBytes, static_cast<std::size_t>(length));
  const std::span<const std::byte> data = file.subspan(kLengthBytes + static_cast<std::size_t>(length));
  const json::Value root = json::parse({reinterpret_cast<const char*>(header.data()), header.size()}, where_);
  for (const auto& [name, entry] : root.as_object(where_)) {
    if (name == "__metadata__") continue;
    const std::string tensor_where = where_ + ": " + name;
    if (!tensors_.emplace(name, read_tensor(entry, data, tensor_where)).second) {
      throw_data("[" + tensor_where + "] expected each tensor once, but got it twice");
    }
  }
}

const TensorView& Safetensors::at(const std::string& name) const {
  const TensorView* tensor = find(name);
  if (tensor == nullptr) throw_data("[" + where_ + "] expected the tensor " + name + ", but it is missing");
  return *tensor;
}

const TensorView* Safetensors::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace castline
