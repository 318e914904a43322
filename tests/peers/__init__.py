"""What others say of their functions, held against ours: `nox -s peers`."""
