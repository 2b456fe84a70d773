#include "tokenizer/tokenizer.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/ids.hpp"

namespace py = pybind11;

namespace castline {
namespace {

/// The bytes of a Python object, or the UTF-8 form of a str; the view lives as long as the object.
std::string_view text_of(const py::handle& text) {
  if (PyBytes_Check(text.ptr())) {
    return {PyBytes_AS_STRING(text.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(text.ptr()))};
  }
  if (!PyUnicode_Check(text.ptr())) {
    throw py::type_error("expected str or bytes, but got " +
                         std::string(py::str(py::type::of(text).attr("__name__"))));
  }
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (data == nullptr) throw py::error_already_set();
  return {data, static_cast<std::size_t>(size)};
}

py::array_t<std::uint32_t> encode(const Tokenizer& tokenizer, const py::object& text, bool add_special) {
  const std::string_view view = text_of(text);
  Ids ids;
  {
    const py::gil_scoped_release release;
    tokenizer.encode(view, ids, add_special);
  }
  return ids_to_python(std::move(ids));
}

std::vector<py::array_t<std::uint32_t>> encode_batch(const Tokenizer& tokenizer,
                                                     const std::vector<py::object>& texts, int threads,
                                                     bool add_special) {
  std::vector<std::string_view> views;
  views.reserve(texts.size());
  for (const py::object& text : texts) views.push_back(text_of(text));
  std::vector<Ids> ids;
  {
    const py::gil_scoped_release release;
    ids = tokenizer.encode_batch(views, threads, add_special);
  }
  std::vector<py::array_t<std::uint32_t>> arrays;
  arrays.reserve(ids.size());
  for (Ids& one : ids) arrays.push_back(ids_to_python(std::move(one)));
  return arrays;
}

std::vector<py::bytes> pre_tokenize(const Tokenizer& tokenizer, const py::object& text) {
  std::vector<py::bytes> pieces;
  for (const std::string& piece : tokenizer.pre_tokenize(text_of(text))) pieces.emplace_back(piece);
  return pieces;
}

py::bytes decode(const Tokenizer& tokenizer, const py::object& values, bool skip_special) {
  const Ids ids = ids_from_python(values);
  std::string bytes;
  {
    const py::gil_scoped_release release;
    bytes = tokenizer.decode(ids, skip_special);
  }
  return py::bytes(bytes);
}

}  // namespace

void bind_tokenizer(py::module_& m) {
  py::class_<Tokenizer>(m, "Tokenizer", "Byte-level BPE read from a Hugging Face tokenizer.json.")
      .def(py::init([](const std::filesystem::path& path) { return Tokenizer::from_file(path.string()); }),
           py::arg("path"), py::call_guard<py::gil_scoped_release>())
      .def_static(
          "from_json", [](const py::object& text) { return Tokenizer::from_json(text_of(text)); },
          py::arg("text"), "Reads the text of a tokenizer.json.")
      .def_property_readonly("vocab_size", &Tokenizer::vocab_size, "One more than the largest id.")
      .def("encode", &encode, py::arg("text"), py::arg("add_special") = false,
           "The ids of a text; bytes that are not UTF-8 are read as U+FFFD.")
      .def("encode_batch", &encode_batch, py::arg("texts"), py::arg("threads") = 0,
           py::arg("add_special") = false, "The ids of every text; the same for any number of threads.")
      .def("decode", &decode, py::arg("ids"), py::arg("skip_special") = false, "The bytes of the tokens.")
      .def("pre_tokenize", &pre_tokenize, py::arg("text"), "The pieces that are encoded each by itself.")
      .def(
          "token_bytes",
          [](const Tokenizer& tokenizer, std::uint32_t id) { return py::bytes(tokenizer.token_bytes(id)); },
          py::arg("id"), "The bytes of one token.")
      .def("token_id", &Tokenizer::token_id, py::arg("token"),
           "The id of a token as tokenizer.json writes it.")
      .def("is_special", &Tokenizer::is_special, py::arg("id"), "True for an added token marked special.");

  py::class_<StreamDecoder>(m, "StreamDecoder", "Turns a stream of ids into text of whole characters.")
      .def(py::init<const Tokenizer&, bool>(), py::arg("tokenizer"), py::arg("skip_special") = false,
           py::keep_alive<1, 2>())
      .def("push", &StreamDecoder::push, py::arg("id"), "Adds a token; returns the text that it completes.")
      .def("finish", &StreamDecoder::finish, "The end: U+FFFD for an unfinished character.");
}

}  // namespace castline
