#!/usr/bin/env python3
"""Runs the kernels of a node against plain PyTorch (autograd, float64) and times them.

usage: kernels.py [--host]

Kernels are compiled by NVRTC and launched by the driver, both by ctypes; with --host g++ compiles them for the CPU (no times).
"""
import ctypes as c, glob, os, subprocess, sys, tempfile, time
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
KERNELS = next(p for p in (HERE + "/kernels", HERE + "/../kernels") if os.path.isdir(p))
HOST = "--host" in sys.argv
DEVICE = "cpu" if HOST else "cuda"
SOURCES = {"node": ["neuron.h", "node.cu"], "lif": ["neuron.h", "lif.cu"], "moments": ["moments.cu"]}
TAU, THRESHOLD, TEMPERATURE, EPSILON, MOMENTUM, MOST = 0.2, 0.5, 3.0, 1e-5, 0.1, 16
I, L, F, D = c.c_int, c.c_long, c.c_float, c.c_double


def text(name):
    return "\n".join(open(f"{KERNELS}/{part}").read() for part in SOURCES[name])


def library(name):
    roots = [os.path.dirname(torch.__file__) + "/../nvidia", "/usr/local/cuda"]
    found = [p for root in roots for p in glob.glob(f"{root}/**/{name}*", recursive=True)]
    for path in [name] + sorted(found):
        try: return c.CDLL(path)
        except OSError: pass
    sys.exit(f"{name} not found")


class Gpu:
    def __init__(self):
        self.rtc, self.cu = library("libnvrtc.so.13"), c.CDLL("libcuda.so.1")
        self.capability, self.functions, self.codes = torch.cuda.get_device_capability(), {}, {}

    def driver(self, status):
        if status:
            text = c.c_char_p(); self.cu.cuGetErrorString(status, c.byref(text)); raise RuntimeError(text.value.decode())

    def compiled(self, name, defines):
            source = open(f"{KERNELS}/device.h").read() + text(name)
            program, size = c.c_void_p(), c.c_size_t()
            self.rtc.nvrtcCreateProgram(c.byref(program), source.encode(), (name + ".cu").encode(), 0, None, None)
            options = ["--std=c++17", "--fmad=false", "--gpu-architecture=sm_%d%d" % self.capability, *(f"-D{d}" for d in defines)]
            status = self.rtc.nvrtcCompileProgram(program, len(options), (c.c_char_p * len(options))(*[o.encode() for o in options]))
            if status:
                self.rtc.nvrtcGetProgramLogSize(program, c.byref(size)); log = c.create_string_buffer(size.value)
                self.rtc.nvrtcGetProgramLog(program, log); raise RuntimeError(log.value.decode())
            self.rtc.nvrtcGetCUBINSize(program, c.byref(size)); code = c.create_string_buffer(size.value)
            self.rtc.nvrtcGetCUBIN(program, code)
            return code

    def prepare(self, wanted):
        """Compiles on all cores."""
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self.codes = dict(zip(wanted, pool.map(lambda key: self.compiled(*key), wanted)))

    def module(self, name, defines):
        key = (name, defines)
        if key not in self.functions:
            code = self.codes.get(key) or self.compiled(*key); self.codes[key] = code
            module = c.c_void_p(); torch.zeros(1, device="cuda"); self.driver(self.cu.cuModuleLoadData(c.byref(module), code))
            self.functions[key] = module
        return self.functions[key]

    def launch(self, name, entry, defines, grid, block, arguments):
        function = c.c_void_p()
        self.driver(self.cu.cuModuleGetFunction(c.byref(function), self.module(name, defines), entry.encode()))
        stream = c.c_void_p(torch.cuda.current_stream().cuda_stream)
        self.driver(self.cu.cuLaunchKernel(function, *grid, *block, 0, stream, arguments, None))


class Cpu:
    def __init__(self): self.libraries, self.folder = {}, tempfile.mkdtemp()

    def launch(self, name, entry, defines, grid, block, arguments):
        key = (name, defines)
        if key not in self.libraries:
            path = f"{self.folder}/{len(self.libraries)}"
            open(path + ".cpp", "w").write(open(f"{KERNELS}/device.h").read() + text(name))
            subprocess.run(["g++", "-O1", "-g", "-std=c++17", "-ffp-contract=off", "-w", "-shared", "-fPIC", "-include", f"{KERNELS}/host.h",
                            *(f"-D{d}" for d in defines), path + ".cpp", "-o", path + ".so"], check=True)
            self.libraries[key] = c.CDLL(path + ".so")
        lib = self.libraries[key]
        c.c_int.in_dll(lib, "kernel_order").value = ORDER
        getattr(lib, entry + "_run")((c.c_uint * 3)(*grid), (c.c_uint * 3)(*block), arguments)


ORDER = 0
MACHINE = Cpu() if HOST else Gpu()


# Rows of a thread and blocks of a multiprocessor, as cuda/node.rs has them, and those that are timed beside them.
def form_of(steps): return (4, 3) if steps == 1 else (2, 3) if steps <= 6 else (1, 3) if steps <= 10 else (1, 2)
FORMS = [(1, 4), (1, 5), (2, 2), (2, 3), (2, 4)]
def defines_of_node(steps, form, more=()): return (f"STEPS={steps}", f"TERMS={MOST}", f"ROWS={form[0]}", f"RESIDENT={form[1]}") + more


def modules():
    """What this program uses, for compiling at once."""
    steps = [1, 2, 3, 5, 6, 10]
    node = lambda t, form, x=(): ("node", defines_of_node(t, form, x))
    wanted = [node(t, form_of(t)) for t in steps] + [("moments", (f"STEPS={t}",) + x) for t in steps for x in ((), ("X_BF16=1",)) if not x or t in (5, 6)]
    wanted += [node(t, form, x) for t in (5, 6) for form in FORMS for x in ((), ("X_BF16=1",))] + [("lif", (f"STEPS={t}",)) for t in range(1, 11)]
    return list(dict.fromkeys(wanted))


def launch(name, entry, defines, grid, block, *arguments):
    values = [c.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else c.c_void_p(None) if a is None else a for a in arguments]
    places = (c.c_void_p * len(values))(*[c.cast(c.pointer(v), c.c_void_p) for v in values])
    MACHINE.launch(name, entry, tuple(defines), grid, block, places)


class Neuron(c.Structure):
    _fields_ = [("tau", F), ("threshold", F), ("fall", F), ("height", F)]


def neuron(threshold=THRESHOLD):
    import math
    return Neuron(TAU, threshold, -2 * TEMPERATURE, 4 * TEMPERATURE / (2 * math.tanh(TEMPERATURE / 2)))


class Term(c.Structure):
    _fields_ = [(n, c.c_void_p) for n in "x gradient factor shift mean beta scale sums".split()] + [
        ("stride", L), ("first", L), ("advance", L), ("kind", I), ("scale_index", I)]


class Terms(c.Structure): _fields_ = [("each", Term * MOST)]
class Coefficients(c.Structure): _fields_ = [(n, c.c_void_p) for n in "factor shift mean inverse".split()]


def up(a, b): return -(-a // b)
def poison(*shape, dtype=torch.float32): return torch.full(shape, float("nan"), dtype=dtype, device=DEVICE) if dtype.is_floating_point else torch.full(shape, 0x5a5a5a5a, dtype=dtype, device=DEVICE)
def offset(tensor, values): return tensor.data_ptr() + values * tensor.element_size()


def tiling(width, block=256):
    """Threads of a block (channels, rows), and spans of channels."""
    spans = up(width, block); lanes = up(width, spans)
    return lanes, max(1, block // lanes), spans


class Currents:
    """The normalised output x [maps*B*H*W, C] (channels-last rows) of a convolution."""
    def __init__(self, x, gamma, beta, running, steps, maps, alike, training, spiking, steps_of_channels=None):
        self.x, self.gamma, self.beta, self.steps, self.maps, self.alike, self.training, self.spiking = x, gamma, beta, steps, maps, alike, training, spiking
        self.channels = C = x.shape[1]; self.rows = x.shape[0] // maps
        self.defines = (f"STEPS={steps}",) + (("X_BF16=1",) if x.dtype == torch.bfloat16 else ())
        self.values = poison(4, steps, C)
        self.of = Coefficients(*[offset(self.values, i * steps * C) for i in range(4)])
        if training:
            lanes, groups, spans = tiling(C); tile = max(groups * 64, up(self.rows, 128)); tiles = up(self.rows, tile)
            partial = poison(tiles, maps, 2, C, dtype=torch.float64)
            launch("moments", "moments_partial", self.defines, (tiles, spans, maps), (lanes, groups, 1), x, partial, L(self.rows), I(C), L(tile))
            launch("moments", "coefficients_of_moments", self.defines, (up(C, 16), 1, 1), (16, 16, 1), partial, x, L(tiles), L(self.rows), I(C), I(maps),
                   I(alike), gamma, beta, running[0], running[1], steps_of_channels, D(MOMENTUM), F(EPSILON), self.of)
            self.partial = partial
        else:
            launch("moments", "coefficients_of_running", self.defines, (up(C, 256), 1, 1), (256, 1, 1), gamma, beta, running[0], running[1], steps_of_channels, self.of, I(C), F(EPSILON))
        self.sums, self.gradient = poison(2 * maps + 3, C, dtype=torch.float64), None

    def finish(self, result=None):
        C = self.channels; lanes, groups, spans = tiling(C); tile = groups * 32
        to_gamma, to_beta = poison(C), poison(C)
        result = poison(*self.x.shape, dtype=self.x.dtype) if result is None else result
        launch("moments", "normalisation_backward", self.defines, (up(self.rows, tile), spans, self.maps), (lanes, groups, 1), self.gradient, self.x,
               result, self.sums, self.of, self.gamma, L(self.rows), I(C), I(self.maps), I(self.alike), I(self.training and 1 or 0), L(tile), to_gamma, to_beta)
        return result, to_gamma, to_beta


class Node:
    """terms: (Currents, first, scale index) or (spikes, None, scale index)"""
    def __init__(self, terms, width, steps, alpha, threshold=THRESHOLD, measure=True, form=None):
        self.terms, self.width, self.steps, self.alpha, self.neuron = terms, width, steps, alpha, neuron(threshold)
        of, _, _ = terms[0]
        self.rows = of.rows if isinstance(of, Currents) else of.shape[0] // steps
        form = form or form_of(steps)
        self.per_thread = form[0]
        bf16 = any(isinstance(of, Currents) and of.x.dtype == torch.bfloat16 for of, _, _ in terms)
        self.defines = defines_of_node(steps, form, ("X_BF16=1",) if bf16 else ())
        self.lanes, self.groups, self.spans = tiling(width)
        self.spikes = poison(steps * self.rows, width)
        self.blocks = up(self.rows, self.groups * self.per_thread)
        self.fired = poison(self.blocks * self.spans, steps, dtype=torch.int32) if measure else None
        self.rate = poison(steps)

    def packed(self, gradients):
        all = Terms()
        for index, (of, first, scale) in enumerate(self.terms):
            t = all.each[index]
            if isinstance(of, Currents):
                C = of.channels
                t.x, t.stride, t.advance, t.kind = offset(of.x, first), C, of.rows if of.maps > 1 or self.steps == 1 else 0, 1 if of.spiking else 0
                t.factor, t.shift, t.mean = [offset(of.values, i * self.steps * C + first) for i in range(3)]
                t.beta, t.sums, t.first = offset(of.beta, first), offset(of.sums, first), first
                if gradients: t.gradient = offset(gradients[index], first * of.maps * of.rows)
            else:
                t.x, t.stride, t.advance, t.kind = offset(of, 0), self.width, self.rows, 2
                if gradients: t.gradient = offset(gradients[index], 0)
            t.scale_index = -1 if self.alpha is None else scale
            t.scale = None if self.alpha is None else offset(self.alpha, scale)
        return all

    def forward(self):
        launch("node", "node_forward", self.defines, (self.blocks, self.spans, 1), (self.lanes, self.groups, 1), self.packed(None), I(len(self.terms)), I(self.width), self.neuron,
               L(self.rows), self.spikes, self.fired)
        if self.fired is not None:
            launch("node", "node_rate", self.defines, (self.steps, 1, 1), (256, 1, 1), self.fired, L(self.blocks * self.spans), D(self.spikes.numel() / self.steps), self.rate)
        return self.spikes

    def backward(self, upstream):
        gradients = []
        for of, _, _ in self.terms:
            if isinstance(of, Currents):
                if of.gradient is None: of.gradient = poison(*of.x.shape)
                gradients.append(of.gradient)
            else: gradients.append(poison(*of.shape))
        terms, count = self.packed(gradients), len(self.terms)
        blocks, sums = up(self.rows, self.groups * self.per_thread), 2 * self.steps + 1
        partial, to_scale = poison(blocks, count, sums, self.width), poison(count, self.width, dtype=torch.float64)
        launch("node", "node_backward", self.defines, (blocks, self.spans, 1), (self.lanes, self.groups, 1), terms, I(count), I(self.width), self.neuron, L(self.rows),
               upstream, L(upstream.stride(0)), partial)
        launch("node", "node_sums", self.defines, (up(count * sums * self.width, 16), 1, 1), (16, 16, 1), terms, I(count), I(self.width), partial, L(blocks), to_scale)
        to_alpha = None
        if self.alpha is not None:
            to_alpha = poison(len(self.alpha))
            launch("node", "node_alpha", self.defines, (len(self.alpha), 1, 1), (256, 1, 1), terms, I(count), I(self.width), to_scale, to_alpha)
        return gradients, to_alpha


# ---- plain PyTorch ----

def dspike(u, threshold):
    import math
    b = TEMPERATURE; half = math.tanh(b / 2)
    distance = u - threshold
    distance = torch.where(distance.abs() < 0.5, distance, distance.detach())  # no gradient at the edge itself
    smooth = (torch.tanh(distance * b) + half) / (2 * half)
    return (u.detach() > threshold).to(u.dtype) - smooth.detach() + smooth


def lif(current, threshold):  # [T, ...]
    spikes, u = [], None
    for x in current:
        u = x if u is None else u * TAU * (1 - spikes[-1]) + x
        spikes.append(dspike(u, threshold))
    return torch.stack(spikes)


def normalised(x, gamma, beta, running, steps, maps, alike, training):
    x = x.view(maps, -1, x.shape[1])
    if not training: mean, var = running[0], running[1]
    elif alike: mean, var = x.mean((0, 1)), x.var((0, 1), unbiased=False)
    else: mean, var = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    y = gamma * (x - mean) / (var + EPSILON).sqrt() + beta
    moved = [r.clone() for r in running]
    if training:
        n = x.shape[1] * (steps if alike else 1)
        each = [(mean.flatten(), var.flatten())] if alike else [(mean[m, 0], var[m, 0]) for m in (range(maps) if maps > 1 else [0] * steps)]
        for m, v in each: moved = [moved[0] * (1 - MOMENTUM) + MOMENTUM * m.detach(), moved[1] * (1 - MOMENTUM) + MOMENTUM * v.detach() * n / (n - 1)]
    return y.expand(steps, -1, -1), moved


def case_of(seed, steps, rows, width, constant, alike, training, spiking, scaled, threshold):
    g = torch.Generator().manual_seed(seed)
    def random(*shape, low=None): return (torch.randn(*shape, generator=g) * 0.6 + 0.3 if low is None else torch.rand(*shape, generator=g) + low).to(DEVICE)
    return dict(steps=steps, rows=rows, width=width, constant=constant, alike=alike, training=training, spiking=spiking, scaled=scaled, threshold=threshold,
                a=random(steps * rows, 3 * width), b=random((1 if constant else steps) * rows, 2 * width), upstream=random(steps * rows, 2 * width) - 0.3, alpha=random(6, low=0.2),
                gammas=[random(3 * width, low=0.3), random(2 * width, low=0.3)], betas=[random(3 * width, low=0.0) - 0.4, random(2 * width, low=0.0) - 0.4])


def by_kernels(k):
    running = [[torch.full((n * k["width"],), 0.4, device=DEVICE) for _ in range(2)] for n in (3, 2)]
    alpha = k["alpha"] if k["scaled"] else None
    w, T = k["width"], k["steps"]
    A = Currents(k["a"], k["gammas"][0], k["betas"][0], running[0], T, T, k["alike"], k["training"], k["spiking"])
    B = Currents(k["b"], k["gammas"][1], k["betas"][1], running[1], T, 1 if k["constant"] else T, k["alike"], k["training"], k["spiking"])
    one = Node([(A, 0, 0), (A, w, 1), (B, w, 2)], w, T, alpha, k["threshold"])
    first = one.forward()
    two = Node([(B, 0, 4), (first, None, 3), (A, 2 * w, 5)], w, T, alpha, k["threshold"])
    second = two.forward()
    gradients, to_alpha = two.backward(k["upstream"][:, w:])
    _, more = one.backward((k["upstream"][:, :w] + gradients[1]).contiguous())
    out = {"spikes": torch.cat([first, second], 1), "rate": torch.cat([one.rate, two.rate])}
    if alpha is not None: out["alpha"] = to_alpha + more
    for name, of in (("a", A), ("b", B)): out[name], out[name + ".gamma"], out[name + ".beta"] = of.finish()
    for name, r in zip("ab", running): out[name + ".mean"], out[name + ".variance"] = r
    out["coefficients"] = (A.values, B.values)
    return out


def by_autograd(k):
    leaf = lambda t: t.double().clone().requires_grad_()
    a, b, alpha, w, T = leaf(k["a"]), leaf(k["b"]), leaf(k["alpha"]), k["width"], k["steps"]
    gammas, betas = [leaf(t) for t in k["gammas"]], [leaf(t) for t in k["betas"]]
    running = [[torch.full((n * w,), 0.4, device=DEVICE).double() for _ in range(2)] for n in (3, 2)]
    ya, ra = normalised(a, gammas[0], betas[0], running[0], T, T, k["alike"], k["training"])
    yb, rb = normalised(b, gammas[1], betas[1], running[1], T, 1 if k["constant"] else T, k["alike"], k["training"])
    if k["spiking"]: ya, yb = lif(ya, k["threshold"]), lif(yb, k["threshold"])
    s = lambda i: alpha[i] if k["scaled"] else 1.0
    first = lif(ya[..., :w] * s(0) + ya[..., w:2 * w] * s(1) + yb[..., w:] * s(2), k["threshold"])
    second = lif(yb[..., :w] * s(4) + first * s(3) + ya[..., 2 * w:] * s(5), k["threshold"])
    spikes = torch.cat([first, second], 2).flatten(0, 1)
    (spikes * k["upstream"]).sum().backward()
    out = {"spikes": spikes.detach(), "rate": torch.cat([first.detach().flatten(1).mean(1), second.detach().flatten(1).mean(1)]), "a": a.grad, "b": b.grad}
    if k["scaled"]: out["alpha"] = alpha.grad
    for n, gm, bt, r in zip("ab", gammas, betas, (ra, rb)):
        out[n + ".gamma"], out[n + ".beta"], out[n + ".mean"], out[n + ".variance"] = gm.grad, bt.grad, *r
    return out


def rounded_alike(k, coefficients):
    """Spikes op by op in f32, from the kernels' own coefficients: equal currents give equal spikes."""
    w, T = k["width"], k["steps"]
    s = lambda i: k["alpha"][i] if k["scaled"] else torch.ones((), device=DEVICE)
    def neurons(current):
        spikes, u = [], torch.zeros_like(current[0])
        for x in current:
            u = u + x; spikes.append((u > k["threshold"]).float()); u = torch.where(u > k["threshold"], torch.zeros_like(u), TAU32 * u)
        return torch.stack(spikes)
    def part(which, first, i):
        x, v = (k["a"], coefficients[0]) if which == "a" else (k["b"], coefficients[1])
        maps = x.shape[0] // k["rows"]; x = x.view(maps, k["rows"], -1)[..., first:first + w].expand(T, -1, -1)
        factor, shift = v[0][:, None, first:first + w], v[1][:, None, first:first + w]
        if k["spiking"]: return neurons(factor * x + shift) * s(i)
        return (factor * s(i)) * x + shift * s(i)
    TAU32 = torch.tensor(TAU, dtype=torch.float32, device=DEVICE)
    first = neurons(part("a", 0, 0) + part("a", w, 1) + part("b", w, 2))
    second = neurons(part("b", 0, 4) + first * s(3) + part("a", 2 * w, 5))
    return torch.cat([first, second], 2).flatten(0, 1)


def compare():
    global ORDER
    worst, cases, failures = {}, 0, 0
    shapes = [(1, 7, 3), (2, 300, 13), (3, 41, 5), (5, 130, 12), (6, 257, 33), (10, 70, 300)] if not HOST else [(1, 7, 3), (2, 300, 13), (3, 41, 5), (6, 90, 33), (10, 20, 300)]
    for number, (steps, rows, width) in enumerate(shapes):
        for constant, alike, training, spiking, scaled, threshold in [(0, 0, 1, 1, 1, .5), (0, 1, 1, 1, 1, .5), (0, 0, 1, 0, 1, .5), (0, 1, 1, 0, 0, 1.), (0, 0, 0, 1, 1, .5), (1, 0, 1, 1, 1, .5),
                                                                       (1, 1, 1, 0, 1, .5), (1, 0, 0, 0, 0, 1.)]:
            k = case_of(1000 + 10 * number, steps, rows, width, constant, alike, training, spiking, scaled, threshold)
            got, want = by_kernels(k), by_autograd(k)
            what = f"T {steps} rows {rows} width {width} constant {constant} alike {alike} training {training} spiking {spiking} scaled {scaled} threshold {threshold}"
            same = torch.equal(got["spikes"], rounded_alike(k, got.pop("coefficients")))
            flips = int((got["spikes"] != want["spikes"]).sum())
            again = [by_kernels(k)]
            if HOST:
                for ORDER in (1, 2): again.append(by_kernels(k))
                ORDER = 0
            repeated = all(torch.equal(got[n], other[n]) for other in again for n in got)
            bad = []
            if not same: bad.append("spikes differ from f32 op by op")
            if not repeated: bad.append("not the same bits again")
            for name in want:
                if name == "spikes": continue
                error = float((got[name].double() - want[name]).abs().max() / want[name].abs().max().clamp(min=1.0))
                if flips == 0: worst[name.split(".")[-1]] = max(worst.get(name.split(".")[-1], 0.0), error)
                if not error < (2e-5 if flips == 0 else 1.0): bad.append(f"{name} {error:.1e}")
            cases += 1; failures += bool(bad)
            if bad or flips: print("WRONG" if bad else "note", what, f"spikes unlike f64: {flips};", "; ".join(bad))
    for steps in range(1, 11):  # LIF alone
        for constant in (False, True):
            n = 1237
            g = torch.Generator().manual_seed(steps)
            x = (torch.randn(1 if constant else steps, n, generator=g) * 0.7 + 0.2).to(DEVICE); up_ = torch.randn(steps, n, generator=g).to(DEVICE)
            spikes, gradient = poison(steps, n), poison(*x.shape); d = (f"STEPS={steps}",); grid = (up(n, 256), 1, 1)
            launch("lif", "lif_forward", d, grid, (256, 1, 1), x, spikes, L(n), L(0 if constant else n), neuron())
            launch("lif", "lif_backward", d, grid, (256, 1, 1), up_, x, gradient, L(n), L(0 if constant else n), neuron())
            leaf = x.double().requires_grad_(); want = lif(leaf.expand(steps, -1), THRESHOLD); (want * up_).sum().backward()
            error = float((gradient - leaf.grad).abs().max()); cases += 1
            worst["lif"] = max(worst.get("lif", 0.0), error)
            if not torch.equal(spikes.double(), want.detach()) or not error < 2e-5: failures += 1; print("WRONG lif", steps, constant, error)
    print(f"{cases} cases, {failures} wrong; largest error by what: " + ", ".join(f"{n} {e:.1e}" for n, e in worst.items()))
    return failures


def clock(run, repeats=20):
    """Milliseconds by a CUDA graph, so that Python's time is not counted."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side): run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph): run()
    graph.replay(); torch.cuda.synchronize()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(repeats): graph.replay()
    end.record(); torch.cuda.synchronize()
    return begin.elapsed_time(end) / repeats


def times():
    print(f"{'what':84} {'ms':>8} {'GB/s':>7}")
    say = lambda of, ms, values: print(f"{of:84} {ms:8.3f} {values / ms / 1e6:7.0f}")
    for steps, side, width, channels, parts, batch in [(6, 32, 12, 36, 5, 120), (6, 32, 12, 144, 5, 120), (6, 16, 24, 72, 5, 120), (6, 8, 48, 144, 5, 120), (5, 32, 36, 144, 2, 50)]:
        rows = batch * side * side
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.randn(steps * rows, channels, device="cuda").mul_(0.6).add_(0.3).to(dtype)
            size = x.element_size()
            gamma, beta, running = torch.ones(channels, device="cuda"), torch.zeros(channels, device="cuda"), [torch.zeros(channels, device="cuda"), torch.ones(channels, device="cuda")]
            make = lambda: Currents(x, gamma, beta, running, steps, steps, False, True, True)
            label = f"T{steps} {batch}x{side}x{side} C{channels} w{width} {'bf16' if size == 2 else 'f32'}"
            say(label + " moments + coefficients", clock(make), x.numel() * size)
            # Each part from a convolution of its own, as a node's parts are.
            convs = [Currents(x if i == 0 else x.clone(), gamma, beta, running, steps, steps, False, True, True) for i in range(parts)]
            spikes = (torch.rand(steps * rows, width, device="cuda") > 0.8).float()
            alpha = torch.rand(8, device="cuda")
            terms = [(of, 0, i) for i, of in enumerate(convs)] + [(spikes, None, 6)]
            n = steps * rows * width
            upstream = torch.randn(steps * rows, width, device="cuda")
            for of in convs: of.gradient = torch.empty(steps * rows, channels, device="cuda")
            for form in FORMS:
                node = Node(terms, width, steps, alpha, measure=False, form=form)
                what = f"{form[0]} rows a thread, {form[1]} blocks"
                say(label + f" node forward, {parts} parts + spikes, {what}", clock(node.forward), n * (parts * size + 4 + 4))
                say(label + f" node backward, {what}", clock(lambda: node.backward(upstream)), n * (parts * (size + 4) + 4 + 4 + 4))
            rough = torch.empty_like(x)
            # One part of all channels, as far as the layout goes.
            convs[0].sums[-2] = 0; convs[0].sums[-1] = channels; convs[0].sums[-3] = 1
            say(label + " normalisation backward", clock(lambda: convs[0].finish(rough)), x.numel() * (4 + size + size))
            if size == 4 and side == 32:
                say(label + " copy", clock(lambda: convs[0].gradient.copy_(x)), x.numel() * 8)
            del convs, node, terms, x
    n = 120 * 32 * 32 * 48
    x, s, g = [torch.randn(6, n, device="cuda") for _ in range(3)]
    say("LIF forward T6", clock(lambda: launch("lif", "lif_forward", ("STEPS=6",), (up(n, 256), 1, 1), (256, 1, 1), x, s, L(n), L(n), neuron())), x.numel() * 8)
    say("LIF backward T6", clock(lambda: launch("lif", "lif_backward", ("STEPS=6",), (up(n, 256), 1, 1), (256, 1, 1), g, x, s, L(n), L(n), neuron())), x.numel() * 12)


if __name__ == "__main__":
    begin = time.time()
    print(torch.__version__, torch.cuda.get_device_name() if not HOST else "host")
    torch.backends.cuda.matmul.allow_tf32 = False
    if not HOST:
        MACHINE.prepare(modules())
        print(f"compiled at {time.time() - begin:.0f} s", flush=True)
    wrong = compare()
    print(f"at {time.time() - begin:.0f} s", flush=True)
    if not HOST: times()
    print(f"end at {time.time() - begin:.0f} s")
    sys.exit(1 if wrong else 0)
