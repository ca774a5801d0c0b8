"""Compares the CUDA kernels of models/kernels with PyTorch, without a GPU: g++ compiles them over `emulate.h`.

    python tools/kernels/check.py            # needs g++ and what requirements.txt names

Values and gradients of f32 kernels have to agree to 1e-5 (of the largest value), those of bf16 kernels to 1/64. Masks and
normal values are made again by a Philox in numpy.
"""

import ctypes
import pathlib
import subprocess
import tempfile

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
KERNELS = HERE.parent.parent / "models/kernels"
LIMITS = {"f32": 1e-5, "bf16": 1 / 64}
WORST = {}


def build(folder):
    library = folder / "kernels.so"
    flags = ["-O1", "-std=c++17", "-shared", "-fPIC", "-I", HERE, "-I", KERNELS]
    subprocess.run(["g++", *flags, "-o", library, HERE / "emulate.cpp"], check=True)
    return ctypes.CDLL(str(library))


class Launcher:
    """Launches kernels; arrays are passed by their address, None as a null pointer."""

    def __init__(self, shared):
        self.shared = shared

    def __call__(self, name, grid, threads, *arguments, shared=0):
        values = []
        for argument in arguments:
            match argument:
                case None:
                    values.append(ctypes.c_void_p(None))
                case np.ndarray():
                    assert argument.flags.c_contiguous
                    values.append(ctypes.c_void_p(argument.ctypes.data))
                case _:
                    values.append(argument)
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
        x, y = grid if isinstance(grid, tuple) else (grid, 1)
        assert self.shared.launch(name.encode(), x, y, threads, shared, pointers) == 0, f"no kernel {name}"


i32, u32, u64, f32 = ctypes.c_int32, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_float


def to_device(x, kind):
    """A tensor as the kernels see it, and as PyTorch does after rounding."""
    if kind == "f32":
        array = x.detach().numpy().astype(np.float32)
        return np.ascontiguousarray(array), torch.tensor(array, dtype=torch.float64)
    rounded = x.detach().to(torch.bfloat16).contiguous()
    return rounded.view(torch.int16).numpy().view(np.uint16).copy(), rounded.to(torch.float64)


def empty(shape, kind):
    return np.full(shape, 0x7FC0, np.uint16) if kind == "bf16" else np.full(shape, np.nan, np.float32)


def from_device(array):
    if array.dtype == np.uint16:
        return torch.tensor(array.view(np.int16)).view(torch.bfloat16).to(torch.float64)
    return torch.tensor(array, dtype=torch.float64)


def compare(name, kind, ours, theirs, limit=None):
    theirs = theirs.detach().to(torch.float64)
    error = ((from_device(ours) - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12)).item()
    assert error <= (limit or LIMITS[kind]), f"{name} {kind}: {error}"
    WORST[name, kind] = max(WORST.get((name, kind), 0.0), error)


def philox(key, block):
    """Words of Philox 4x32-10, `[len(block), 4]`."""
    key, block = int(key), np.asarray(block, np.uint64)
    a, b = block & 0xFFFFFFFF, block >> np.uint64(32)
    c = d = np.zeros_like(a)
    low, high = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        x, y = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (
            (y >> np.uint64(32)) ^ b ^ np.uint64(low), y & np.uint64(0xFFFFFFFF),
            (x >> np.uint64(32)) ^ d ^ np.uint64(high), x & np.uint64(0xFFFFFFFF),
        )
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([a, b, c, d], 1)


class Mask:
    """A dropout mask: its factors, and its arguments."""

    def __init__(self, key, p):
        self.key, self.threshold, self.keep = key, int(p * 65536), np.float32(1 / (1 - p))

    def arguments(self):
        return u64(self.key), u32(self.threshold), f32(self.keep)

    def factors(self, shape):
        place = np.arange(np.prod(shape))
        words = philox(self.key, place // 128 * 16 + place % 16)[place, place % 128 // 32]
        draws = np.where(place % 32 < 16, words & np.uint64(0xFFFF), words >> np.uint64(16))
        return torch.tensor(np.where(draws < self.threshold, 0.0, self.keep).reshape(shape))


def randn(*shape, scale=1.0):
    return torch.randn(*shape, dtype=torch.float64) * scale


def norms(launch, kind):
    for rows, width in [(3, 5), (37, 96), (5, 768)]:
        x, x_ = to_device(randn(rows, width), kind)
        out, out_ = to_device(randn(rows, width), kind)
        g, g_ = to_device(randn(rows, width), kind)
        add, add_ = to_device(randn(rows, width), kind)
        bias, weight, shift = (to_device(randn(width), "f32") for _ in range(3))
        mask, eps = Mask(11 + rows, 0.1), 1e-5
        factors = mask.factors((rows, width))

        y = empty((rows, width), kind)
        launch(f"norm_forward_{kind}", rows, 64, x, weight[0], shift[0], y, i32(width), f32(eps))
        norm = lambda x, w, b: torch.nn.functional.layer_norm(x, (width,), w, b, eps)  # noqa: E731
        compare("norm_forward", kind, y, norm(x_, weight[1], shift[1]))

        r = empty((rows, width), kind)
        arguments = x, out, bias[0], r, weight[0], shift[0]
        launch(f"close_forward_{kind}", rows, 64, *arguments, y, i32(width), f32(eps), *mask.arguments())
        compare("close_forward r", kind, r, x_ + factors * (out_ + bias[1]))
        # The norm reads r as it was stored.
        compare("close_forward y", kind, y, norm(from_device(r), weight[1], shift[1]))
        launch(f"close_forward_{kind}", rows, 64, *arguments, None, i32(width), f32(eps), u64(0), u32(0), f32(1))
        compare("close_forward alone", kind, r, x_ + out_ + bias[1])

        w, b, input_ = (t.clone().requires_grad_() for t in (weight[1], shift[1], x_))
        norm(input_, w, b).backward(g_)
        dx, dropped, of_rows = empty((rows, width), kind), empty((rows, width), kind), empty((rows, 2), "f32")
        arguments = x, g, add, weight[0], dx, dropped, of_rows
        launch(f"norm_backward_{kind}", rows, 64, *arguments, i32(width), f32(eps), *mask.arguments())
        compare("norm_backward", kind, dx, input_.grad + add_)
        compare("norm_backward dropped", kind, dropped, (input_.grad + add_) * factors)
        sums, products = empty(width, "f32"), empty(width, "f32")
        blocks = (width + 31) // 32
        launch(f"column_sums_{kind}", blocks, 1024, g, x, of_rows, sums, products, i32(rows), i32(width))
        compare("column_sums", kind, sums, b.grad)
        compare("column_sums products", kind, products, w.grad)
        launch(f"column_sums_{kind}", blocks, 1024, g, None, None, sums, None, i32(rows), i32(width))
        compare("column_sums", kind, sums, g_.sum(0))


def pointwise(launch, kind):
    functional = torch.nn.functional
    forms = [functional.gelu, lambda x: functional.gelu(x, approximate="tanh"), lambda x: x * torch.sigmoid(1.702 * x)]
    rows, width = 7, 33
    for number, form in enumerate(forms):
        a, a_ = to_device(randn(rows, width, scale=2.0), kind)
        g, g_ = to_device(randn(rows, width), kind)
        bias, bias_ = to_device(randn(width), "f32")
        f, da = empty((rows, width), kind), empty((rows, width), kind)
        sizes = u64(rows * width), i32(width), i32(number)
        launch(f"gelu_forward_{kind}", 2, 64, a, bias, f, *sizes)
        input_ = (a_ + bias_).requires_grad_()
        expected = form(input_)
        compare("gelu_forward", kind, f, expected)
        expected.backward(g_)
        f[:] = empty((rows, width), kind)
        launch(f"gelu_backward_{kind}", 2, 64, a, bias, g, da, f, *sizes)
        compare("gelu_backward", kind, da, input_.grad)
        compare("gelu_backward f", kind, f, expected)
    mask, (x, x_) = Mask(5, 0.3), to_device(randn(1000), kind)
    y = empty(1000, kind)
    launch(f"dropout_{kind}", 3, 64, x, y, u64(1000), *mask.arguments())
    compare("dropout", kind, y, x_ * mask.factors(1000))
    parts = [to_device(randn(50), "f32") for _ in range(3)]
    y = empty(150, kind)
    launch(f"stack_{kind}", 2, 32, *(part for part, _ in parts), y, u64(50), u64(150))
    compare("stack", kind, y, torch.cat([part for _, part in parts]))


# No learned key and bias.
OWN_KEYS = None, i32(0), None, i32(0), f32(0)


def attention(launch, kind):
    for rows, heads, length, size, p in [(2, 3, 5, 8, 0.1), (1, 2, 33, 16, 0.0), (1, 1, 80, 64, 0.1), (1, 2, 128, 32, 0.2)]:
        width = heads * size
        qkv, qkv_ = to_device(randn(rows, length, 3 * width), kind)
        bias, bias_ = to_device(randn(3 * width, scale=0.3), "f32")
        df, df_ = to_device(randn(rows, length, width), kind)
        padding_ = torch.zeros(rows, length, dtype=torch.float64)
        padding_[0, length - 2 :] = -1e9
        padding, _ = to_device(padding_, "f32")
        mask, scale = Mask(77 + length, p), size**-0.5
        factors = mask.factors((rows, heads, length, length)) if p else 1.0

        input_, b = qkv_.clone().requires_grad_(), bias_.clone().requires_grad_()
        q, k, v = (input_ + b).view(rows, length, 3, heads, size).permute(2, 0, 3, 1, 4)
        maps_ = torch.softmax(q @ k.transpose(2, 3) * scale + padding_[:, None, None], -1)
        f_ = ((maps_ * factors) @ v).transpose(1, 2).reshape(rows, length, width)
        f_.backward(df_)

        f, maps = empty((rows, length, width), kind), empty((rows, heads, length, length), kind)
        floats = 2 * length * (size + 1)
        shape = i32(heads), i32(length), i32(size), f32(scale)
        launch(
            f"attention_forward_{kind}", (heads, rows), 256, qkv, bias, padding, f, maps, None, *OWN_KEYS, *shape,
            *mask.arguments(),
            shared=4 * (floats + 8 * (size + 128)),
        )  # fmt: skip
        compare("attention_forward", kind, f, f_)
        compare("attention_forward maps", kind, maps, maps_)
        grads = empty((rows, length, 3 * width), kind)
        each = 4 if kind == "f32" else 2
        launch(
            f"attention_backward_{kind}", (heads, rows), 256, qkv, bias, maps, df, grads, None, None, *OWN_KEYS, *shape,
            *mask.arguments(),
            shared=4 * (floats + 8 * size) + each * 2 * length * (length + 1),
        )  # fmt: skip
        compare("attention_backward", kind, grads, input_.grad)


def learned_keys(launch, kind):
    for rows, heads, length, size, keys, p in [(2, 3, 5, 8, 9, 0.1), (3, 2, 33, 16, 1, 0.0), (1, 1, 80, 64, 80, 0.2)]:
        width, longest, bias_scale = heads * size, length + 3, 0.3
        qv, qv_ = to_device(randn(rows, length, 2 * width), kind)
        bias, bias_ = to_device(randn(2 * width, scale=0.3), "f32")
        key, key_ = to_device(randn(heads, keys, size), "f32")
        plus, plus_ = to_device(randn(heads, longest, longest), "f32")
        df, df_ = to_device(randn(rows, length, width), kind)
        of_logits, of_logits_ = to_device(randn(rows, heads, length, length, scale=0.1), kind)
        mask, scale = Mask(77 + length, p), size**-0.5
        factors = mask.factors((rows, heads, length, length)) if p else 1.0

        input_, key_, plus_ = [x.clone().requires_grad_() for x in (qv_, key_, plus_)]
        q, v = (input_ + bias_).view(rows, length, 2, heads, size).permute(2, 0, 3, 1, 4)
        logits_ = q @ key_[:, :length].transpose(1, 2) * scale + bias_scale * plus_[:, :length, :length]
        f_ = ((torch.softmax(logits_, -1) * factors) @ v).transpose(1, 2).reshape(rows, length, width)
        ((f_ * df_).sum() + (logits_ * of_logits_).sum()).backward()

        maps_shape = (rows, heads, length, length)
        f, maps, logits = [empty(shape, kind) for shape in ((rows, length, width), maps_shape, maps_shape)]
        floats = 2 * length * (size + 1)
        learned = key, i32(keys), plus, i32(longest), f32(bias_scale)
        shape = i32(heads), i32(length), i32(size), f32(scale), *mask.arguments()
        launch(
            f"attention_forward_{kind}", (heads, rows), 256, qv, bias, None, f, maps, logits, *learned, *shape,
            shared=4 * (floats + 8 * (size + 128)),
        )  # fmt: skip
        compare("attention_forward, learned keys", kind, f, f_)
        compare("attention_forward logits", kind, logits, logits_)
        grads, of_key = empty((rows, length, 2 * width), kind), empty((rows, length, width), "f32")
        each = 4 if kind == "f32" else 2
        launch(
            f"attention_backward_{kind}", (heads, rows), 256, qv, bias, maps, df, grads, of_logits, of_key, *learned,
            *shape, shared=4 * (floats + 8 * size) + each * 2 * length * (length + 1),
        )  # fmt: skip
        compare("attention_backward, learned keys", kind, grads, input_.grad)
        d_key, d_plus = empty(key_.shape, "f32"), empty(plus_.shape, "f32")
        summed, down = (rows * length, 1) if keys == 1 else (rows, length)
        launch(
            "learned_gradient_f32", 2, 256, of_key, d_key, u64(d_key.size), i32(summed), u64(of_key.size // summed),
            i32(keys), i32(size), i32(down), i32(size), u64(size), u64(width), f32(1),
        )  # fmt: skip
        compare("learned_gradient, keys", kind, d_key, key_.grad)
        launch(
            f"learned_gradient_{kind}", 2, 256, maps, d_plus, u64(d_plus.size), i32(rows), u64(maps.size // rows),
            i32(longest), i32(longest), i32(length), i32(length), u64(length * length), u64(length), f32(bias_scale),
        )  # fmt: skip
        compare("learned_gradient, bias", kind, d_plus, plus_.grad)


def rows(launch, kind):
    for rows, width, share in [(6, 5, 3), (10, 61, 2), (3, 200, 3)]:
        x, x_ = to_device(randn(rows, width, scale=3.0), kind)
        bias, bias_ = to_device(randn(rows // share, width), "f32")
        g, g_ = to_device(randn(rows, width), kind)
        y, dx = empty((rows, width), kind), empty((rows, width), kind)
        blocks = (rows + 3) // 4
        sizes = i32(rows), i32(width)
        launch(f"softmax_forward_{kind}", blocks, 128, x, bias, y, *sizes, i32(share))
        compare("softmax_forward", kind, y, torch.softmax(x_ + bias_.repeat_interleave(share, 0), -1))
        launch(f"softmax_forward_{kind}", blocks, 128, x, None, y, *sizes, i32(1))
        input_ = x_.clone().requires_grad_()
        expected = torch.softmax(input_, -1)
        compare("softmax_forward", kind, y, expected)
        expected.backward(g_)
        launch(f"softmax_backward_{kind}", blocks, 128, y, g, dx, *sizes)
        compare("softmax_backward", kind, dx, input_.grad)
    entries, width = 9, 40
    ids = np.array([3, 0, 3, 8, 3, 0], np.uint32)
    table, table_ = to_device(randn(entries, width), "f32")
    g, g_ = to_device(randn(len(ids), width), kind)
    y, sums = empty((len(ids), width), kind), np.zeros((entries, width), np.float32)
    launch(f"embedding_forward_{kind}", len(ids), 32, table, ids, y, u32(entries), i32(width))
    table_.requires_grad_()
    expected = torch.nn.functional.embedding(torch.tensor(ids.astype(np.int64)), table_, padding_idx=8)
    compare("embedding_forward", kind, y, expected)
    expected.backward(g_)
    places = np.argsort(ids, kind="stable").astype(np.uint32)
    counts = (u32(len(ids)), u32(entries), u32(8), i32(width))
    launch(f"embedding_backward_{kind}", len(ids), 32, ids, places, g, sums, *counts)
    compare("embedding_backward", kind, sums, table_.grad)
    launch(f"embedding_forward_{kind}", 1, 32, table, np.array([9], np.uint32), y, u32(entries), i32(width))
    assert torch.isnan(from_device(y)[0]).all(), "an id outside the table gives no number"


def cross_entropy(launch):
    rows, width = 9, 23
    x, x_ = to_device(randn(rows, width, scale=3.0), "f32")
    bias_ = torch.zeros(width, dtype=torch.float64)
    bias_[5:9] = -1e9
    bias, _ = to_device(bias_, "f32")
    targets = torch.randint(0, 5, (rows,))
    loss, dx = empty(rows, "f32"), empty((rows, width), "f32")
    input_ = x_.clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(input_ + bias_, targets, reduction="none")
    launch("cross_entropy", 3, 128, x, bias, targets.numpy().astype(np.uint32), loss, dx, i32(rows), i32(width))
    compare("cross_entropy", "f32", loss, expected)
    expected.sum().backward()
    compare("cross_entropy gradient", "f32", dx, input_.grad)


VARIABLE = np.dtype(
    [("value", "u8"), ("grad", "u8"), ("m", "u8"), ("v", "u8"), ("count", "u8"), ("first", "u8"), ("keep", "f4"),
     ("rate", "f4"), ("key", "u8")]
)  # fmt: skip
CHUNK = 1 << 14


def optimiser(launch):
    sizes, decays, rates = [3, 40_000, 16_384, 700], [0.0, 0.01, 0.01, 0.1], [1e-2, 1e-3, 1e-3, 1e-2]
    values = [torch.nn.Parameter(randn(size).float()) for size in sizes]
    groups = [{"params": [v], "lr": r, "weight_decay": d} for v, r, d in zip(values, rates, decays)]
    theirs = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)
    ours = [[v.detach().numpy().copy(), None, np.zeros(n, np.float32), np.zeros(n, np.float32)] for v, n in zip(values, sizes)]
    chunks = [(size + CHUNK - 1) // CHUNK for size in sizes]
    table = np.zeros(len(sizes), VARIABLE)
    table["count"], table["first"] = sizes, np.cumsum([0, *chunks[:-1]])
    total, count = sum(chunks), i32(len(sizes))
    sums, factor = np.zeros((total, 2)), empty(2, "f32")
    for step in range(1, 4):
        for n, value in enumerate(values):
            value.grad = randn(sizes[n]).float() * step
            ours[n][1] = value.grad.numpy().copy()
            table["keep"][n], table["rate"][n] = 1 - rates[n] * decays[n], rates[n] / (1 - 0.9**step)
            for field, array in zip(("value", "grad", "m", "v"), ours[n]):
                table[field][n] = array.ctypes.data
        norm = torch.nn.utils.clip_grad_norm_(values, 4.0)
        theirs.step()
        launch("gradient_sums", total, 256, table, count, sums)
        launch("clip_factor", 1, 256, sums, u64(total), f32(4.0), factor)
        compare("clip_factor", "f32", factor[:1], norm.reshape(1))
        root = (1 - 0.999**step) ** -0.5
        launch("adamw", total, 256, table, count, factor, f32(0.9), f32(0.999), f32(1e-8), f32(root))
        for value, mine in zip(values, ours):
            compare("adamw", "f32", mine[0], value)
    before = [array[1].copy() for array in ours]
    table["keep"], table["rate"], table["key"] = 0.5, [1, 1, 0, 1], [5, 6, 7, 1 << 40]
    spread = empty(len(sizes), "f32")
    launch("gradient_sums", total, 256, table, count, sums)
    launch("deviations", len(sizes), 256, table, sums, spread)
    compare("deviations", "f32", spread, torch.tensor([g.astype(np.float64).std(ddof=1) + 1e-8 for g in before]))
    launch("gradient_noise", total, 256, table, count, spread)
    for n, size in enumerate(sizes):
        place = np.arange(size)
        words = philox(table["key"][n], place // 64 * 16 + place % 16)
        pair = place % 64 // 32 * 2
        u, turn = ((words[place, pair] >> np.uint64(8)) + np.uint64(1)) / 2**24, (words[place, pair + 1] >> np.uint64(8)) / 2**24
        angle = 2 * np.pi * turn
        normal = np.sqrt(-2 * np.log(u)) * np.where(place % 32 < 16, np.cos(angle), np.sin(angle))
        noise = normal * spread[n] if table["rate"][n] else 0.0
        compare("gradient_noise", "f32", ours[n][1], torch.tensor(0.5 * before[n] + noise))


def main():
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        launch = Launcher(build(pathlib.Path(folder)))
        for kind in ("f32", "bf16"):
            for check in (norms, pointwise, attention, learned_keys, rows):
                check(launch, kind)
        cross_entropy(launch)
        optimiser(launch)
    for (name, kind), error in sorted(WORST.items()):
        print(f"{name:24} {kind:5} {error:.1e}")


if __name__ == "__main__":
    main()
