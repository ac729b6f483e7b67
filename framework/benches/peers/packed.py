"""A packed file, read by numpy. docs/packed-file.md describes its bytes."""

import json

import numpy


def bits(data):
    return numpy.unpackbits(numpy.frombuffer(data, "u1"), bitorder="little")


def golomb_rice(code, k, kept, count):
    """Which of `count` weights are kept: gaps of q ones, a zero, and k low bits from the highest on."""
    # Where each place's next code begins, if a code begins at the place.
    ends = numpy.flatnonzero(code == 0)
    of = numpy.minimum(numpy.searchsorted(ends, numpy.arange(len(code))), len(ends) - 1)
    behind = (ends[of] + 1 + k).tolist()
    starts, at = [], 0
    for _ in range(kept):
        starts.append(at)
        at = behind[at]
    starts = numpy.array(starts, int)
    end = ends[of[starts]]
    low = sum(code[end + 1 + bit].astype(int) << (k - 1 - bit) for bit in range(k))
    gaps = ((end - starts) << k) + low
    mask = numpy.zeros(count, bool)
    mask[numpy.cumsum(gaps + 1) - 1] = True
    return mask


def read(path):
    """The graph, whose layers get `values` (of the weights' shape), `scale` and `bias`."""
    file = open(path, "rb").read()
    begin = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:begin])
    part = lambda name: file[begin:][slice(*header[name]["data_offsets"])]
    graph, numbers, weights = json.loads(part("graph")), numpy.frombuffer(part("numbers"), "<f4"), part("weights")
    graph["mean"], graph["std"], numbers = numpy.split(numbers, [graph["image"][0], 2 * graph["image"][0]])
    currents = [current for made in graph["maps"] for current in made["of"].get("spikes", [0, []])[1]]
    for layer in [current["layer"] for current in currents if "layer" in current] + [graph["logits"]["layer"]]:
        stored, form = layer["stored"], layer["stored"]["weights"]
        count, kept, k = numpy.prod(layer["shape"]), form["kept"], form["coding"]
        scale, bias, numbers = numpy.split(numbers, [stored["scales"], stored["scales"] + stored["biases"]])
        code, weights = bits(weights[: form["mask"]]), weights[form["mask"] :]
        masks = {-2: lambda: numpy.ones(count, bool), -1: lambda: code[:count].astype(bool)}
        mask = masks.get(k, lambda: golomb_rice(code, k, kept, count))()
        values = numpy.zeros(count, "f4")
        if "grid" in form:
            grid, length = form["grid"], -(-kept * form["grid"]["bits"] // 8)
            codes = bits(weights[:length])[: kept * grid["bits"]].reshape(-1, grid["bits"])
            values[mask] = grid["first"] + grid["step"] * (codes @ (1 << numpy.arange(grid["bits"])))
            weights = weights[length:]
        else:
            values[mask], numbers = numbers[:kept], numbers[kept:]
        outputs = layer["shape"][0]
        layer["values"] = values.reshape(layer["shape"])
        layer["scale"] = numpy.broadcast_to(scale if len(scale) else numpy.float32(1), outputs)
        layer["bias"] = numpy.broadcast_to(bias if len(bias) else numpy.float32(0), outputs)
    return graph
