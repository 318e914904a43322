"""Convolutions whose tensors are sharded over processes: DTensors of `torch.distributed.tensor`.

Knows meshes, placements and communication. The integers are those of `ndconv._form.partition`, and each process
computes an ordinary convolution. Imported with the first DTensor only, as torch may be built without them.
"""
