"""Golden pictures for harness/tests/pixels.rs: what CLIP's image processor (Pillow) makes of small generated files.

    pip install -r tools/golden/pixels-requirements.txt
    python tools/golden/pixels.py harness/tests/golden/pixels            # pictures, expected pixels, table.json
    python tools/golden/pixels.py harness/tests/golden/pixels DATA/mnre/img_org   # also the table of real pictures

Each picture `NAME.EXT` has its resized and cropped pixels at 64 x 64 in `NAME.EXT.64.png`. `table.json` holds, of every
picture at 224 x 224, the mean of each channel and the pixels at 64 places; of `scale`, CLIP's normalised value of each
byte and channel. `real.json` holds the same table for real pictures, by path, with their SHA-256, and no picture.
"""

import hashlib
import io
import json
import pathlib
import struct
import sys
import zlib

import numpy
from PIL import Image, ImageOps
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

PLACES = [(row, column) for row in range(13, 224, 28) for column in range(13, 224, 28)]


def pixels(image, size):
    """u8 [size, size, 3]: the processor without its last two steps, rescaling and normalising.

    The published code hands it `Image.open(path).convert("RGB")`, which drops transparency; a new image makes sure
    that the processor, which would put a picture with transparency on white, sees none. Pictures are turned first as
    their EXIF orientation says, as Hugging Face `datasets` does and the published code does not.
    """
    image = ImageOps.exif_transpose(image)
    image = Image.fromarray(numpy.asarray(image.convert("RGB")))
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}, do_rescale=False, do_normalize=False
    )
    planes = numpy.asarray(processor(image)["pixel_values"][0])
    assert planes.dtype == numpy.uint8 and planes.shape == (3, size, size)
    return planes.transpose(1, 2, 0)


def table(image):
    planes = pixels(image, 224)
    return {
        "mean": planes.reshape(-1, 3).mean(0, dtype=numpy.float64).round(4).tolist(),
        "pixels": [planes[place].tolist() for place in PLACES],
    }


def scene(width, height, seed):
    """Smooth waves, hard edges and some noise."""
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width]
    channels = []
    for _ in range(3):
        a, b, c, d = random.uniform(0.02, 0.35, 4)
        wave = 90 * numpy.sin(a * x + b * y) + 60 * numpy.cos(c * x - d * y)
        edge = 80 * ((x // random.integers(5, 19) + y // random.integers(5, 19)) % 2)
        channels.append(100 + wave + edge + random.normal(0, 4, (height, width)))
    return numpy.clip(numpy.stack(channels, -1), 0, 255).astype(numpy.uint8)


def picture(width, height, seed=0, mode="RGB"):
    return Image.fromarray(scene(width, height, seed)).convert(mode)


def alpha(image, seed):
    image = image.copy()
    image.putalpha(Image.fromarray(scene(*image.size, seed)).convert("L"))
    return image


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png16(values, colour_type):
    """A PNG of 16 bits per sample, which Pillow does not write in colour."""
    chunk = lambda tag, data: struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def without_adobe(jpeg):
    """The file without its Adobe segment (APP14), which says how CMYK is stored."""
    start = jpeg.index(b"\xff\xee")
    return jpeg[:start] + jpeg[start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big") :]


def pictures():
    """File name to bytes. `lossy` decoders differ by design; of all others every byte is defined."""
    cmyk = saved(picture(53, 41, 9, "CMYK"), "JPEG", quality=90)
    turned = Image.Exif()
    turned[0x0112] = 6
    palette = picture(45, 38, 5).quantize(16)
    flat = palette.convert("RGB")
    frames = [picture(33, 29, seed).quantize(8) for seed in (6, 7)]
    wide = scene(40, 30, 8).astype(numpy.uint16) * 257 + 77 * (numpy.arange(40, dtype=numpy.uint16)[:, None] % 3)
    return {
        "rgb-small.png": saved(picture(37, 23, 1), "PNG"),
        "rgb-large.png": saved(picture(131, 97, 2), "PNG"),
        "rgb-square.png": saved(picture(64, 64, 3), "PNG"),
        "rgb-tall.png": saved(picture(9, 140, 4), "PNG"),
        "rgb-wide.png": saved(picture(190, 7, 4), "PNG"),
        "rgb-dot.png": saved(picture(1, 1, 4), "PNG"),
        "rgb-16-bit.png": png16(numpy.minimum(wide, 65535), 2),
        "grey.png": saved(picture(50, 31, 5, "L"), "PNG"),
        "grey-alpha.png": saved(alpha(picture(40, 27, 5, "L"), 6), "PNG"),
        "bilevel.png": saved(picture(70, 44, 5, "1"), "PNG"),
        "alpha.png": saved(alpha(picture(43, 36, 5), 7), "PNG"),
        "palette.png": saved(palette, "PNG"),
        "palette-transparent.png": saved(palette, "PNG", transparency=3),
        "rgb-key.png": saved(flat, "PNG", transparency=flat.getpixel((0, 0))),
        "animated.gif": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "transparent.gif": saved(palette, "GIF", transparency=2),
        "rgb.bmp": saved(picture(31, 22, 6), "BMP"),
        "palette.bmp": saved(palette, "BMP"),
        "lossless.webp": saved(alpha(picture(43, 36, 5), 8), "WEBP", lossless=True, exact=True),
        "lossy.webp": saved(picture(83, 66, 8), "WEBP", quality=85),
        "full-colour.jpg": saved(picture(77, 58, 2), "JPEG", quality=92, subsampling=0),
        "half-colour.jpg": saved(picture(77, 59, 2), "JPEG", quality=85, subsampling=1),
        "quarter-colour.jpg": saved(picture(83, 65, 3), "JPEG", quality=85, subsampling=2),
        "progressive.jpg": saved(picture(75, 90, 4), "JPEG", quality=80, progressive=True),
        "grey.jpg": saved(picture(61, 43, 5, "L"), "JPEG", quality=85),
        "turned.jpg": saved(picture(61, 43, 6), "JPEG", quality=85, exif=turned),
        "cmyk-adobe.jpg": cmyk,
        "cmyk.jpg": without_adobe(cmyk),
    }


def real(folder):
    table_of = lambda path: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **table(Image.open(path))}
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): table_of(path) for path in paths}


def write(path, entries):
    """One entry a line."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items())
    path.write_text("{\n" + lines + "\n}\n")


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    entries = {}
    for name, content in pictures().items():
        (out / name).write_bytes(content)
        image = Image.open(io.BytesIO(content))
        Image.fromarray(pixels(image, 64)).save(out / f"{name}.64.png", optimize=True)
        entries[name] = table(image)
    ramp = Image.fromarray(numpy.arange(256, dtype=numpy.uint8).reshape(16, 16)).convert("RGB")
    scaled = CLIPImageProcessorPil(do_resize=False, do_center_crop=False)(ramp)["pixel_values"][0]
    entries["scale"] = numpy.asarray(scaled, dtype=numpy.float64).reshape(3, 256).tolist()
    write(out / "table.json", entries)
    if len(sys.argv) > 2:
        write(out / "real.json", real(pathlib.Path(sys.argv[2])))


if __name__ == "__main__":
    main()
