"""The parts of `versus_pytorch`: what is compared, who competes, and how it is told."""
