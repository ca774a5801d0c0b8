"""What transformers makes of a saved model, for harness/tests/golden_model.rs.

    pip install -r tools/golden/models-requirements.txt
    python tools/golden/saved.py harness/tests/golden/model

Writes states.safetensors into the folder: word pieces of two sentences by `AutoTokenizer`, the last states of `BertModel`
for them, random pixels, and the last states of `CLIPVisionModel`.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertModel, CLIPVisionModel

SENTENCES = ["Ann met Bob in Rome", "the acme joined nowhere"]


def main():
    folder = pathlib.Path(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(
        [sentence.split(" ") for sentence in SENTENCES], is_split_into_words=True, padding=True, return_tensors="pt"
    )
    text = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager").eval()
    vision = CLIPVisionModel.from_pretrained(folder / "vision", attn_implementation="eager").eval()
    side = vision.config.image_size
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        states = text(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        seen = vision(pixels).last_hidden_state
    integers = {"ids": batch["input_ids"], "mask": batch["attention_mask"]}
    tensors = {name: value.to(torch.uint32) for name, value in integers.items()}
    tensors |= {"text": states.contiguous(), "vision": seen.contiguous(), "pixels": pixels}
    save_file(tensors, folder / "states.safetensors")


if __name__ == "__main__":
    main()
