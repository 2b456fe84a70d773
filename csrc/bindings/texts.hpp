// What the bindings of the text core share: Python texts as views, and the kinds of text by name.
#pragma once

#include <pybind11/pybind11.h>

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "text/tokens.hpp"

namespace castline {

namespace py = pybind11;

constexpr std::size_t kTextsPerTask = 16;

/// Views of the bytes of Python texts, str as UTF-8. Holds what they point into, so drop it with the GIL
/// held.
class Texts {
 public:
  explicit Texts(const py::iterable& texts) {
    for (const py::handle text : texts) add(text);
  }

  std::size_t size() const { return views_.size(); }
  std::string_view operator[](std::size_t i) const { return views_[i]; }
  std::span<const std::string_view> views() const { return views_; }

 private:
  void add(py::handle text) {
    py::object owner = py::reinterpret_borrow<py::object>(text);
    if (PyUnicode_Check(text.ptr())) {
      Py_ssize_t size = 0;
      if (const char* data = PyUnicode_AsUTF8AndSize(text.ptr(), &size)) {
        views_.emplace_back(data, static_cast<std::size_t>(size));
        owners_.push_back(std::move(owner));
        return;
      }
      // A lone surrogate has no UTF-8 form: its three bytes are counted as the ill-formed ones they are.
      PyErr_Clear();
      owner =
          py::reinterpret_steal<py::object>(PyUnicode_AsEncodedString(text.ptr(), "utf-8", "surrogatepass"));
      if (!owner) throw py::error_already_set();
    }
    if (!PyBytes_Check(owner.ptr())) {
      throw py::type_error("expected texts as str or bytes, but got " +
                           std::string(py::str(py::type::of(text).attr("__name__"))));
    }
    views_.emplace_back(PyBytes_AS_STRING(owner.ptr()),
                        static_cast<std::size_t>(PyBytes_GET_SIZE(owner.ptr())));
    owners_.push_back(std::move(owner));
  }

  std::vector<py::object> owners_;
  std::vector<std::string_view> views_;
};

inline text::TextKind kind_of(std::string_view name) {
  if (name == "text") return text::TextKind::text;
  if (name == "code") return text::TextKind::code;
  throw_usage("[text] expected the kind 'text' or 'code', but got '" + std::string(name) + "'");
}

}  // namespace castline
