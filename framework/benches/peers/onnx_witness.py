"""onnxruntime beside the engine's reference: are logits and spikes the same bits?

    onnx_witness.py FOLDER [--time]
    onnx_witness.py FILE.onnx LOGITS IMAGES

FOLDER has a folder for each network, which litesnn's tests write;
framework/exchange/tests/cases/mod.rs says what is in it. Each file goes through onnx.checker with
full shape inference, and runs with the optimiser off and on, for all images at once and for each
alone. Exit status 1 where bits differ. Two kinds may differ, and are reported alone: `photographs`,
because the sums of pixels are rounded, and f32 levels with the optimiser on, which folds scale and
bias into the weights.

--time runs the first image with one thread, and prints the least of five times; processor time does
not count what other work takes.

The second form compares a trained network on a whole data set: FILE.onnx is of `litesnn export`, LOGITS
of `litesnn infer --logits`, and IMAGES the images of the data set in the same order (IDX, gzip; or
CIFAR-10's binary records), read here and divided by 255. Exit status 1 where bits differ. Sums of the
first layer, of pixels, are rounded in the runtime's own order, so a few may.

Needs onnx 1.23.2, onnxruntime 1.32.0 and numpy.
"""

import gzip
import json
import pathlib
import sys
import time

import numpy
import onnx
import onnxruntime


def session(path, optimised, threads=2):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def numbers(path, shape):
    return numpy.fromfile(path, "<f4").reshape(shape)


def differing(case, path, images, optimised):
    """How many logits and spikes differ, of how many, for all images at once and for each alone."""
    running = session(path, optimised)
    names = [output.name for output in running.get_outputs()]
    timesteps = int(running.get_modelmeta().custom_metadata_map["timesteps"])
    count = len(images)
    logits, spikes, of = 0, 0, 0
    for chosen in [slice(0, count)] + [slice(i, i + 1) for i in range(count)]:
        results = dict(zip(names, running.run(None, {"pixels": images[chosen]})))
        found = results.pop("logits")
        wanted = numbers(case / "logits.f32", (count, -1))[chosen]
        assert found.shape == wanted.shape, (found.shape, wanted.shape)
        logits += int((found != wanted).sum())
        maps = {path.stem: path for path in (case / "spikes").glob("*.f32")}
        # An output that is called as something else already has an apostrophe.
        results = {name.rstrip("'"): result for name, result in results.items()}
        assert set(results) == set(maps), (set(results) ^ set(maps), "maps are not outputs")
        for name, result in results.items():
            shape = (timesteps, count) + result.shape[1:]
            wanted = numbers(maps[name], shape)[:, chosen].reshape(result.shape)
            assert set(numpy.unique(wanted)) <= {0, 1}
            spikes += int((result != wanted).sum())
            of += result.size
    return logits, spikes, of


def tensors(path):
    """The tensors of a file of safetensors by name."""
    file = path.read_bytes()
    begin = 8 + int.from_bytes(file[:8], "little")
    kinds = {"F32": "<f4", "I64": "<i8"}
    return {
        name: numpy.frombuffer(file[begin:][slice(*entry["data_offsets"])], kinds[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in json.loads(file[8:begin]).items()
    }


def pixels(path, shape):
    """Bytes of images [N, C, H, W]: of IDX with gzip, or of records of a label and an image."""
    if path.suffix == ".gz":
        return numpy.frombuffer(gzip.open(path).read(), "u1")[16:].reshape(-1, *shape)
    size = int(numpy.prod(shape))
    return numpy.frombuffer(path.read_bytes(), "u1").reshape(-1, 1 + size)[:, 1:].reshape(-1, *shape)


def over_a_split(path, told, images):
    """Whether onnxruntime has the logits that the engine had of each image; prints how many differ."""
    told = tensors(told)
    wanted, by_timestep, labels = (told[name] for name in ("logits", "by_timestep", "labels"))
    right, running = True, session(str(path), False)
    shape = running.get_inputs()[0].shape[1:]
    inputs = pixels(images, shape)[: len(wanted)].astype("f4") / numpy.float32(255)
    assert len(inputs) == len(wanted), f"{len(wanted)} images have logits, and {images} has {len(inputs)}"
    assert set(numpy.isfinite(by_timestep).ravel()) == {True}, "images stopped early, and an ONNX file runs every timestep"
    engine = (wanted.argmax(1) == labels).sum()
    for optimised in (False, True):
        running = session(str(path), optimised)
        batches = [running.run(["logits"], {"pixels": inputs[i : i + 100]})[0] for i in range(0, len(inputs), 100)]
        found = numpy.concatenate(batches)
        differing = (found != wanted).any(1)
        others = (found.argmax(1) != wanted.argmax(1)).sum()
        right &= not differing.any()
        print(
            f"{path.parent.name}: optimiser {'on ' if optimised else 'off'}: {differing.sum()} of {len(found)} images and "
            f"{(found != wanted).sum()} of {found.size} logits differ, by {abs(found - wanted).max():.1e}; {others} classes "
            f"do; {(found.argmax(1) == labels).sum()} right, and {engine} by the engine; {len(numpy.unique(wanted))} logits"
        )
    return right


def main():
    if len(sys.argv) == 4:
        sys.exit(0 if over_a_split(*map(pathlib.Path, sys.argv[1:])) else 1)
    folder = pathlib.Path(sys.argv[1])
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}, numpy {numpy.__version__}")
    wrong = 0
    for case in sorted(path for path in folder.iterdir() if path.is_dir()):
        for path in sorted(case.glob("*.onnx")):
            onnx.checker.check_model(str(path), full_check=True)
            shape = session(str(path), False).get_inputs()[0].shape
            images = numbers(case / "pixels.f32", (-1, *shape[1:]))
            for optimised in (False, True):
                logits, spikes, of = differing(case, str(path), images, optimised)
                free = case.name == "photographs" or (path.stem == "float" and optimised)
                bad = (logits or spikes) and not free
                wrong += bool(bad)
                print(
                    f"{case.name:12} {path.stem:6} {path.stat().st_size:>10} bytes, optimiser "
                    f"{'on ' if optimised else 'off'}: {logits} logits and {spikes} of {of} spikes differ"
                    + (" (WRONG)" if bad else "")
                )
            if "--time" in sys.argv:
                running = session(str(path), True, threads=1)
                times = []
                for _ in range(5):
                    wall, processor = time.perf_counter(), time.process_time()
                    running.run(["logits"], {"pixels": images[:1]})
                    times.append((time.perf_counter() - wall, time.process_time() - processor))
                wall, processor = (1000 * min(column) for column in zip(*times))
                print(
                    f"{case.name:12} {path.stem:6} an image with one thread: "
                    f"{wall:.0f} ms, {processor:.0f} ms of processor time"
                )
    sys.exit(1 if wrong else 0)


main()
