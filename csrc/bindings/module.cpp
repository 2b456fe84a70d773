// castline._C: the core for Python. Each bind_* lives in the file named after its folder of csrc.
#include "base/error.hpp"
#include "bindings/bindings.hpp"

namespace py = pybind11;

PYBIND11_MODULE(_C, m) {
  m.doc() = "castline's C++ core: text, tokenizer, runtime.";
  m.attr("__version__") = CASTLINE_VERSION;
  // Bad outside data becomes DataError, a missing resource DeviceError, a wrong call ValueError.
  static py::object data_error = py::module_::import("castline.errors").attr("DataError");
  static py::object device_error = py::module_::import("castline.errors").attr("DeviceError");
  data_error.inc_ref();  // never destroyed: the interpreter may be gone when statics are
  device_error.inc_ref();
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const castline::Error& e) {
      switch (e.kind()) {
        case castline::ErrorKind::usage:
          PyErr_SetString(PyExc_ValueError, e.what());
          return;
        case castline::ErrorKind::data:
          PyErr_SetString(data_error.ptr(), e.what());
          return;
        case castline::ErrorKind::device:
          PyErr_SetString(device_error.ptr(), e.what());
          return;
      }
    }
  });
  castline::bind_annotate(m);
  castline::bind_chat(m);
  castline::bind_ngram(m);
  castline::bind_text(m);
  castline::bind_tokenizer(m);
  castline::bind_quantize(m);
  castline::bind_runtime(m);
}
