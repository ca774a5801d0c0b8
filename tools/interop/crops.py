"""Writes a small MNRE-like corpus with pictures and crops of both kinds, as the published archive has them.

    python tools/interop/crops.py FOLDER    # then: mkgc build FOLDER/small.toml --raw FOLDER --out ...
"""

import pathlib
import pickle
import sys
import zipfile

from PIL import Image

PROTOCOL = """name = "small"
corpus = "mnre"

[[tasks]]
classes = ["/per/per/peer"]

[[tasks]]
classes = ["/per/org/member_of"]
"""


def picture(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12 + shade % 5, 9), (shade, 90, 30)).save(path)


def dictionary(path, content):
    """As `torch.save` writes a dict."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))


def split(folder, name, grounding_name):
    lines, grounding, detected = [], {}, {}
    for row in range(150):
        image = f"{name}_{row // 2}"
        relation = ["/per/per/peer", "/per/org/member_of", "None"][row % 3]
        head, tail = {"name": "Ann", "pos": [0, 1]}, {"name": "Bob", "pos": [2, 3]}
        record = {"token": ["Ann", "met", "Bob"], "h": head, "t": tail, "img_id": f"{image}.jpg", "relation": relation}
        lines.append(repr(record) + "\n")
        picture(folder / f"img_org/{name}/{image}.jpg", row)
        grounding[row] = [f"{row}_pred_yolo_crop_{n}.png" for n in range(row % 4)]
        detected[image] = [f"img_detect/{name}/crops/{image}_{n}.jpg" for n in range(row // 2 % 5)]
        for crop in grounding[row]:
            picture(folder / f"img_vg/{name}/crops/{crop}", row)
        for crop in detected[image]:
            picture(folder / crop, row)
    (folder / f"mnre_{name}.txt").write_text("".join(lines))
    dictionary(folder / f"mre_{grounding_name}_dict.pth", grounding)
    dictionary(folder / f"img_detect/{name}/{name}_img2crop.pth", detected)


def main():
    folder = pathlib.Path(sys.argv[1])
    for name, grounding_name in [("train", "train"), ("val", "dev"), ("test", "test")]:
        split(folder, name, grounding_name)
    (folder / "small.toml").write_text(PROTOCOL)


if __name__ == "__main__":
    main()
