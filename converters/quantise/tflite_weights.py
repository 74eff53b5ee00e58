"""A float32 TFLite file whose kernels are stored as int8 per channel, or as float16, each behind a DEQUANTIZE.

The arithmetic stays float32: the runtime unpacks a kernel once, when the model is loaded. Only what a file and the
download take gets smaller, and masks keep what hybrid and all-integer arithmetic lose (see docs/quantisation.md).
"""

from typing import Any

import numpy as np

from .rounding import int8_codes

__all__ = ["stored"]

VERSION = 5  # of DEQUANTIZE: the first one with scales per channel
IDENTIFIER = b"TFL3"


def stored(content: bytes) -> bytes:
    """The file with every kernel that int8 holds exactly in int8, and with the others in float16."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    _Packer(schema, model).run()
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


class _Packer:
    def __init__(self, schema: Any, model: Any):
        self.schema = schema
        self.model = model
        self.graph = model.subgraphs[0]
        self.opcode = len(model.operatorCodes)

    def run(self) -> None:
        codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in self.model.operatorCodes]
        conv = self.schema.BuiltinOperator.CONV_2D
        kernels = {int(op.inputs[1]): None for op in self.graph.operators if codes[op.opcodeIndex] == conv}
        added = [self.unpacking(index) for index in kernels if self.constant(index)]
        self.graph.operators = [*added, *self.graph.operators]
        self.drop_unused()
        kind = self.schema.BuiltinOperator.DEQUANTIZE
        code = self.schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = VERSION
        self.model.operatorCodes.append(code)

    def drop_unused(self) -> None:
        """Empties the buffers that float32 kernels left; others may share one."""
        used = {tensor.buffer for graph in self.model.subgraphs for tensor in graph.tensors}
        used |= {entry.buffer for entry in self.model.metadata or []}
        for index, buffer in enumerate(self.model.buffers):
            if index not in used:
                buffer.data = None

    def constant(self, index: int) -> bool:
        tensor = self.graph.tensors[index]
        data = self.model.buffers[tensor.buffer].data
        return tensor.type == self.schema.TensorType.FLOAT32 and data is not None and len(data) > 0

    def unpacking(self, index: int) -> Any:
        """The operator that makes kernel `index` (O, h, w, I) out of what is stored from now on."""
        tensor = self.graph.tensors[index]
        kernel = np.asarray(self.model.buffers[tensor.buffer].data, np.uint8).view(np.float32).reshape(tensor.shape)
        codes, scale = int8_codes(kernel)
        fits = np.array_equal(codes * scale[:, None, None, None], kernel)
        small = self.tensor(tensor, codes if fits else kernel.astype(np.float16))
        if fits:
            small.quantization = self.schema.QuantizationParametersT()
            small.quantization.scale, small.quantization.zeroPoint = scale, np.zeros(len(scale), np.int64)
        tensor.buffer = 0
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self.opcode
        operator.inputs, operator.outputs = [len(self.graph.tensors)], [index]
        operator.builtinOptionsType = self.schema.BuiltinOptions.DequantizeOptions
        operator.builtinOptions = self.schema.DequantizeOptionsT()
        self.graph.tensors.append(small)
        return operator

    def tensor(self, like: Any, values: np.ndarray) -> Any:
        """A constant of `like`'s shape, in a buffer of its own."""
        small = self.schema.TensorT()
        small.shape, small.hasRank = like.shape, True
        small.name = (like.name or b"kernel") + b"_stored"
        kinds = {np.dtype(np.int8): self.schema.TensorType.INT8, np.dtype(np.float16): self.schema.TensorType.FLOAT16}
        small.type = kinds[values.dtype]
        small.buffer = len(self.model.buffers)
        self.model.buffers.append(self.schema.BufferT())
        self.model.buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
        return small
