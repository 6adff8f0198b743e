"""Write a traced computation as an ONNX model: each operator of ATen's core as one or a few of ONNX's.

A graph comes from `torch.fx.experimental.proxy_tensor.make_fx` with `onnx_decompositions.table()`; all its shapes are
fixed. Frozen weights lie in one file outside, in float16, which several models may share: `FrozenWeights`.
"""

import operator

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

from labkit.errors import LabError

OPSET, IR = 18, 10                                            # onnxruntime-web reads both
aten = torch.ops.aten
TYPES = {torch.float32: TensorProto.FLOAT, torch.int64: TensorProto.INT64, torch.float16: TensorProto.FLOAT16}
UNARY = {aten.sigmoid: "Sigmoid", aten.exp: "Exp", aten.sqrt: "Sqrt", aten.sin: "Sin", aten.cos: "Cos",
         aten.erf: "Erf", aten.neg: "Neg", aten.reciprocal: "Reciprocal", aten.round: "Round"}
BINARY = {aten.mul: "Mul", aten.add: "Add", aten.sub: "Sub", aten.div: "Div", aten.mm: "MatMul", aten.bmm: "MatMul"}
SAME = (aten.clone, aten.alias, aten.detach, aten.lift_fresh_copy)    # give the numbers that they get


class FrozenWeights:
    """Collect frozen tensors, known by name, in one block of float16 that models refer to by place."""

    def __init__(self, file):
        """Begin with none; `file` is how the models call the block."""
        self.file, self.places, self.names, self.size = file, {}, {}, 0

    def add(self, named):
        """Place the tensors of pairs (name, tensor); LabError where one would not be the same in float16."""
        for name, tensor in named:
            if not torch.equal(tensor.half().to(tensor.dtype), tensor):
                raise LabError(f"{name} has numbers that float16 does not hold: "
                               "a page is made of a base whose files are float16.")
            length = 2 * tensor.numel()
            self.places[name], self.names[tensor.data_ptr()] = (self.size, length, tensor), name
            self.size += length

    def bytes(self):
        """Return the whole block."""
        return b"".join(tensor.detach().half().contiguous().numpy().tobytes() for _, _, tensor in self.places.values())

    def initializer(self, name):
        """Return the tensor as an initializer that names its place in the block."""
        offset, length, tensor = self.places[name]
        proto = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=tensor.shape,
                            data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self.file), ("offset", offset), ("length", length)):
            proto.external_data.add(key=key, value=str(value))
        return proto


def onnx_model(traced, inputs, outputs, weights):
    """Return a traced module as an onnx.ModelProto.

    inputs, outputs    names, in the order of what the traced function takes and gives
    weights            FrozenWeights that hold what it reads of the base
    """
    return _Writer(traced, weights).model(list(inputs), list(outputs))


class _Writer:
    """Hold the ONNX nodes written so far and how each traced value is called there."""

    def __init__(self, traced, weights):
        self.traced, self.weights = traced, weights
        self.nodes, self.constants, self.known, self.called = [], {}, {}, {}

    def model(self, inputs, outputs):
        graph = self.traced.graph
        graph.eliminate_dead_code()
        given = [node for node in graph.nodes if node.op == "placeholder"]
        for node, name in zip(given, inputs, strict=True):
            self.called[node] = name
        for node in graph.nodes:
            if node.op == "get_attr":
                self.called[node] = self.attribute(_attribute(self.traced, node.target))
            elif node.op == "call_function":
                self.called[node] = self.value(node)
        (returned,) = (node.args[0] for node in graph.nodes if node.op == "output")
        returned = returned if isinstance(returned, (tuple, list)) else [returned]
        for node, name in zip(returned, outputs, strict=True):
            self.nodes.append(helper.make_node("Identity", [self.called[node]], [name]))
        described = [list(map(_info, names, values)) for names, values in ((inputs, given), (outputs, returned))]
        made = helper.make_graph(self.nodes, "labkit", *described, list(self.constants.values()))
        return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)

    # -- what nodes are made of

    def node(self, kind, *names, count=1, **attributes):
        """Write a node; return the name of its output, or a list of `count` names."""
        made = [f"v{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(kind, list(names), made, **attributes))
        return made[0] if count == 1 else made

    def constant(self, array):
        """Return the name of a constant, kept once however often it is used."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.known:
            self.known[key] = name = f"c{len(self.known)}"
            self.constants[name] = numpy_helper.from_array(array, name)
        return self.known[key]

    def whole(self, *numbers):
        """Return a constant list of whole numbers, as shapes and axes are."""
        return self.constant(np.array(numbers, np.int64))

    def attribute(self, tensor):
        """Return a tensor that the traced code reads: a frozen weight from outside, or a constant."""
        name = self.weights.names.get(tensor.data_ptr())
        if name is None or self.weights.places[name][2].shape != tensor.shape:
            return self.constant(tensor.detach().contiguous().numpy())
        if name not in self.known:
            self.constants[name] = self.weights.initializer(name)
            self.known[name] = self.node("Cast", name, to=TensorProto.FLOAT)
        return self.known[name]

    def operand(self, value, like):
        """Return the name of a traced value, or of a number as a constant of the result's type."""
        if isinstance(value, torch.fx.Node):
            return self.called[value]
        return self.constant(np.array(value, np.int64 if like == torch.int64 else np.float32))

    # -- what becomes of each operator

    def value(self, node):
        """Write a call; return the name of its result, or a list of names where it has several."""
        if node.target is operator.getitem:
            return self.called[node.args[0]][node.args[1]]
        kind = node.target.overloadpacket
        if kind in SAME:
            return self.called[node.args[0]]
        if kind in UNARY:
            return self.node(UNARY[kind], self.called[node.args[0]])
        if kind in BINARY:
            return self.binary(node, BINARY[kind])
        if not node.all_input_nodes:                          # arange, full: the same each time
            return self.constant(node.target(*node.args, **node.kwargs).numpy())
        writer = getattr(self, f"of_{kind.__name__.lstrip('_')}", None)
        if writer is None:
            raise LabError(f"{node.target} has no ONNX form here: add one to tools/onnx_graph.py, or a decomposition "
                           "to tools/onnx_decompositions.py.")
        return writer(node, *node.args, **node.kwargs)

    def binary(self, node, kind):
        first, second, *_ = node.args
        alpha, dtype = node.kwargs.get("alpha", 1), node.meta["val"].dtype
        left, right = self.operand(first, dtype), self.operand(second, dtype)
        return self.node(kind, left, right if alpha == 1 else self.node("Mul", right, self.operand(alpha, dtype)))

    def shaped(self, name, node):
        return self.node("Reshape", name, self.whole(*node.meta["val"].shape))

    def of_view(self, node, x, *_):
        return self.shaped(self.called[x], node)

    of_unsqueeze = of_squeeze = of_reshape = of_unsafe_view = of_view

    def of_full_like(self, node, x, value, **_):
        return self.constant(torch.full(node.meta["val"].shape, value, dtype=node.meta["val"].dtype).numpy())

    def of_permute(self, node, x, order):
        return self.node("Transpose", self.called[x], perm=[axis % len(order) for axis in order])

    def of_expand(self, node, x, *_):
        return self.node("Expand", self.called[x], self.whole(*node.meta["val"].shape))

    def of_slice(self, node, x, dim=0, start=None, end=None, step=1):
        start, end = start or 0, (1 << 62) if end is None else end
        return self.node("Slice", self.called[x], *map(self.whole, (start, end, dim, step)))

    def of_flip(self, node, x, dims):
        ends = [-(1 << 62)] * len(dims)
        return self.node("Slice", self.called[x], self.whole(*[-1] * len(dims)), self.whole(*ends), self.whole(*dims),
                         self.whole(*[-1] * len(dims)))

    def of_cat(self, node, parts, dim=0):
        return self.node("Concat", *(self.called[part] for part in parts), axis=dim % node.meta["val"].dim())

    def of_split_with_sizes(self, node, x, sizes, dim=0):
        made = self.node("Split", self.called[x], self.whole(*sizes), count=len(sizes), axis=dim)
        return made if isinstance(made, list) else [made]

    def of_index(self, node, x, indices):
        if len(indices) != 1:
            raise LabError("Only the first dimension can be indexed in ONNX here.")
        return self.node("Gather", self.called[x], self.called[indices[0]], axis=0)

    def of_sum(self, node, x, dims=(), keepdim=False, **_):
        return self.node("ReduceSum", self.called[x], self.whole(*dims), keepdims=int(keepdim))

    def of_mean(self, node, x, dims=None, keepdim=False, **_):
        axes = range(x.meta["val"].dim()) if dims is None else dims
        return self.node("ReduceMean", self.called[x], self.whole(*axes), keepdims=int(keepdim))

    def of_pow(self, node, x, exponent):
        if exponent == 2:
            return self.node("Mul", self.called[x], self.called[x])
        return self.node("Pow", self.called[x], self.operand(exponent, torch.float32))

    def of_clamp(self, node, x, low=None, high=None):
        return self.node("Clip", self.called[x], self.operand(low, torch.float32), self.operand(high, torch.float32))

    def of_to_copy(self, node, x, **kwargs):
        return self.node("Cast", self.called[x], to=TYPES[node.meta["val"].dtype])

    def of_softmax(self, node, x, dim, *_):
        return self.node("Softmax", self.called[x], axis=dim)

    def of_addmm(self, node, bias, left, right):
        return self.node("Gemm", self.called[left], self.called[right], self.called[bias])

    def of_native_layer_norm(self, node, x, shape, weight, bias, eps):
        return self.node("LayerNormalization", *(self.called[each] for each in (x, weight, bias)), count=3,
                         axis=-len(shape), epsilon=eps)

    def of_native_group_norm(self, node, x, weight, bias, N, C, HxW, groups, eps):
        """Normalize each group as one row, then scale its channels."""
        result, mean, _ = node.meta["val"]
        rows = self.node("Reshape", self.called[x], self.whole(N, groups, C // groups * HxW))
        ones = self.constant(np.ones(C // groups * HxW, np.float32))
        made, *moments = self.node("LayerNormalization", rows, ones, count=3, axis=-1, epsilon=eps)
        made = self.node("Reshape", made, self.whole(*result.shape))
        scale, shift = (self.node("Reshape", self.called[each], self.whole(C, *[1] * (result.dim() - 2)))
                        for each in (weight, bias))
        made = self.node("Add", self.node("Mul", made, scale), shift)
        return [made, *(self.node("Reshape", moment, self.whole(*mean.shape)) for moment in moments)]

    def of_convolution(self, node, x, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
        names = [self.called[each] for each in (x, weight, bias) if each is not None]
        more = {"output_padding": output_padding} if transposed else {}
        return self.node("ConvTranspose" if transposed else "Conv", *names, strides=stride, pads=[*padding, *padding],
                         dilations=dilation, group=groups, **more)


def _attribute(module, path):
    for part in path.split("."):
        module = getattr(module, part)
    return module


def _info(name, node):
    value = node.meta["val"]
    return helper.make_tensor_value_info(name, TYPES[value.dtype], list(value.shape))
