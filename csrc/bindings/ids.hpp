// Token ids between Python and the core.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace castline {

using Ids = std::vector<std::uint32_t>;

/// Hands the vector over to numpy without copying it.
inline pybind11::array_t<std::uint32_t> ids_to_python(Ids ids) {
  auto owned = std::make_unique<Ids>(std::move(ids));
  const pybind11::capsule owner(owned.get(), [](void* p) { delete static_cast<Ids*>(p); });
  const Ids* values = owned.release();
  return pybind11::array_t<std::uint32_t>(static_cast<pybind11::ssize_t>(values->size()), values->data(),
                                          owner);
}

/// Ids from any sequence of integers or integer array.
inline Ids ids_from_python(const pybind11::object& values) {
  namespace py = pybind11;
  const py::array array = py::array::ensure(values);
  if (!array) throw py::error_already_set();
  if (array.size() == 0) return {};
  if (array.ndim() != 1 || (array.dtype().kind() != 'i' && array.dtype().kind() != 'u')) {
    throw py::type_error("expected a one-dimensional sequence of integers as ids");
  }
  const auto wide = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>::ensure(array);
  Ids ids;
  ids.reserve(static_cast<std::size_t>(wide.size()));
  for (py::ssize_t i = 0; i < wide.size(); ++i) {
    const std::int64_t id = wide.at(i);
    if (id < 0 || id > 0xFFFFFFFF) throw py::value_error("expected token ids, but got " + std::to_string(id));
    ids.push_back(static_cast<std::uint32_t>(id));
  }
  return ids;
}

}  // namespace castline
