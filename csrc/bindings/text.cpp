#include "bindings/bindings.hpp"

namespace castline {

void bind_text(pybind11::module_& m) { (void)m; }

}  // namespace castline
