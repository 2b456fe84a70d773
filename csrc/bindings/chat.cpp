#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <ctime>
#include <optional>
#include <string>

#include "bindings/bindings.hpp"
#include "chat/chat_template.hpp"

namespace py = pybind11;

namespace castline {

void bind_chat(py::module_& m) {
  py::class_<ChatTemplate>(m, "ChatTemplate", "A compiled chat template: messages in, prompt text out.")
      .def(py::init([](const std::string& program, const std::string& where) {
             return ChatTemplate(program, where);
           }),
           py::arg("program"), py::arg("where") = "chat template")
      .def(
          "render",
          [](const ChatTemplate& self, const std::string& context, std::optional<std::int64_t> now) {
            const py::gil_scoped_release release;
            return self.render(json::parse(context, "chat template's input"),
                               now ? *now : static_cast<std::int64_t>(std::time(nullptr)));
          },
          py::arg("context"), py::arg("now") = py::none(),
          "The text for a context given as JSON; `now` is in seconds since 1970.");
}

}  // namespace castline
