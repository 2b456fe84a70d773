"""The GQA model, its trainer and its checkpoints."""

import os

# Between two parallel regions PyTorch's OpenMP threads spin, on the cores that the threads of castline's own
# kernels need: on two cores a step takes four times as long. Read when PyTorch is loaded, so set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
