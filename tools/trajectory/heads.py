"""The heads: `features` x of a row (RE) or word (NER), `scores` of x: logits over labels, or emissions of `crf`.

Shapes as in networks.py. Heads of two streams also give their `sides` and their `linear` layer [W^text, W^vision].
"""

import torch
from torch import nn


def gather(states, places):
    """States `[B, T, H]` at `[B, W]` -> `[B, W, H]`."""
    return states.gather(1, places[:, :, None].expand(-1, -1, states.shape[2]))


def crf(labels):
    # Here, so that relations need no torchcrf.
    from torchcrf import CRF

    return CRF(labels, batch_first=True)


class Relation(nn.Module):
    """RE on text: x = LN(GELU(W [h_E11; h_E21] + b)), logits = C x."""

    def __init__(self, hidden, labels):
        super().__init__()
        self.dense, self.norm = nn.Linear(2 * hidden, hidden), nn.LayerNorm(hidden, eps=1e-5)
        self.classifier = nn.Linear(hidden, labels, bias=False)

    def features(self, encoded, batch):
        pair = gather(encoded.text, batch.anchors).flatten(1)
        return self.norm(nn.functional.gelu(self.dense(pair)))

    def scores(self, features):
        return self.classifier(features)


class Entity(nn.Module):
    """NER on text: x = state of a word's first piece, emissions = C x + c, then the CRF."""

    def __init__(self, hidden, labels):
        super().__init__()
        self.emission, self.crf = nn.Linear(hidden, labels), crf(labels)

    def features(self, encoded, batch):
        return gather(encoded.text, batch.anchors)

    def scores(self, features):
        return self.emission(features)


class Marker(nn.Module):
    """RE of MKGformer: linear over the states of the two opening markers."""

    def __init__(self, hidden, labels):
        super().__init__()
        self.classifier = nn.Linear(2 * hidden, labels)

    def features(self, encoded, batch):
        return gather(encoded.text, batch.anchors).flatten(1)

    def scores(self, features):
        return self.classifier(features)


class Class(nn.Module):
    """RE on text: linear over the state of `[CLS]`."""

    def __init__(self, hidden, labels):
        super().__init__()
        self.classifier = nn.Linear(hidden, labels)

    def features(self, encoded, batch):
        return encoded.text[:, 0]

    def scores(self, features):
        return self.classifier(features)


class JointRelation(nn.Module):
    """RE on both streams: linear over [h_cls^text; h_cls^vision]."""

    def __init__(self, hidden, labels):
        super().__init__()
        self.classifier = nn.Linear(2 * hidden, labels)

    def sides(self, encoded, batch):
        """What the head reads of text and of vision, `[B, H]` each."""
        return encoded.text[:, 0], encoded.vision

    def linear(self):
        return self.classifier

    def features(self, encoded, batch):
        return torch.cat(self.sides(encoded, batch), -1)

    def scores(self, features):
        return self.classifier(features)


class JointMarker(Relation):
    """RE on both streams: linear over [x; h_cls^vision], x the feature of the text's head on markers."""

    def __init__(self, hidden, labels):
        super().__init__(hidden, labels)
        self.classifier = nn.Linear(2 * hidden, labels)

    def sides(self, encoded, batch):
        """What the classifier reads of text and of vision, `[B, H]` each."""
        return super().features(encoded, batch), encoded.vision

    def linear(self):
        return self.classifier

    def features(self, encoded, batch):
        return torch.cat(self.sides(encoded, batch), -1)


class JointEntity(nn.Module):
    """NER on both streams: linear over [h_i^text; h_cls^vision + p_i], i = place of the word's first piece, p_i its row of
    the text's own position embeddings."""

    def __init__(self, hidden, labels):
        super().__init__()
        self.emission, self.crf = nn.Linear(2 * hidden, labels), crf(labels)

    def sides(self, encoded, batch):
        """What the head reads of text and of vision, `[B, W, H]` each."""
        return gather(encoded.text, batch.anchors), encoded.vision[:, None] + encoded.positions[batch.anchors]

    def linear(self):
        return self.emission

    def features(self, encoded, batch):
        return torch.cat(self.sides(encoded, batch), -1)

    def scores(self, features):
        return self.emission(features)
