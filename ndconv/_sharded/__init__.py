"""Convolutions whose tensors are shared out among processes: DTensors of `torch.distributed.tensor`.

Knows meshes, placements and what is sent; the integers are those of `ndconv._form.partition`, and what is computed on
each process is an ordinary convolution. Imported as soon as somebody brings a DTensor, for torch may lack all of it.
"""
