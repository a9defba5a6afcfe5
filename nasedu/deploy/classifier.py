"""A trained classifier with all that it takes to use it, which goes into a folder and out again."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch as safetensors
import torchvision
from torch import Tensor, nn

from nasedu import reading, spaces
from nasedu.classification import judged
from nasedu.classification.distill import resized
from nasedu.classification.scoring import Accuracy
from nasedu.data import ImageSet
from nasedu.errors import CheckpointError, NaseduError, ParameterError, brief, check_kind, check_name, sentence
from nasedu.files import write_atomically
from nasedu.storage import load_weights

FORMAT = "nasedu-classifier-1"
SETTINGS, WEIGHTS = "classifier.json", "weights.safetensors"
FIELDS = ("made", "classes", "read", "size")


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained classifier.

    network: with its weights; computes where it lies.
    made: how it is made: `{"space", "options", "architecture"}` of a search space, or `{"network"}`, its name.
    classes: their names, by label.
    read: the options with which `data.classification` reads its images, `image_size` among them.
    size: pixels of the images that the network is shown, where they are read in another size.
    """

    network: nn.Module
    made: Mapping[str, Any]
    classes: Sequence[str]
    read: Mapping[str, Any]
    size: int | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, 3, H, W), read as `read` says."""
        return self.network(resized(x, self.size))

    def evaluate(self, images: ImageSet, precision: str = "float32") -> Accuracy:
        """How many images it classifies right. Raises `ParameterError` where their classes are others.

        images: as `read` says.
        precision: in which it computes, as in `modules.computing`.
        """
        if list(images.classes) != list(self.classes):
            ours, theirs = brief(list(self.classes)), brief(images.classes)
            raise ParameterError(f"the classifier knows the classes {ours}, the data has {theirs}")
        return judged(self.network, images, lambda network, x: network(resized(x, self.size)), precision=precision)

    def save(self, folder: str | Path) -> Path:
        """Write it into a folder, from which `load_classifier` reads it; returns the folder. Raises `OutputError`.

        folder: made if it is missing. `classifier.json` is for people, too; `weights.safetensors` holds no code.
        """
        folder = Path(folder)
        tensors = {name: t.detach().cpu().contiguous() for name, t in self.network.state_dict().items()}
        write_atomically(folder / WEIGHTS, safetensors.save(tensors))
        told = {"format": FORMAT} | {name: getattr(self, name) for name in FIELDS}
        write_atomically(folder / SETTINGS, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        return folder


def load_classifier(folder: str | Path, network: nn.Module | None = None) -> Classifier:
    """The classifier of a folder that `Classifier.save` wrote, on the CPU, in eval mode.

        folder: its folder.
        network: to put the weights into, where it is none of a search space or torchvision: what code makes a network
            is yours to say, not a file's.

    Raises `CheckpointError` where there is none, or a damaged one, and `ParameterError`.
    """
    path = Path(check_kind("the classifier's folder", folder, (str, os.PathLike), "a path")) / SETTINGS
    try:
        settings = reading.load(path)
        if not isinstance(settings, Mapping) or settings.get("format") != FORMAT:
            raise ValueError(f"it is no {FORMAT}")
        made, classes, read, size = (settings[name] for name in FIELDS)
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise ValueError("classes must be a list of names")
        if not isinstance(made, Mapping) or not isinstance(read, Mapping) or not isinstance(size, int | None):
            raise ValueError("made and read must be mappings, and size a whole number or null")
        classifier = Classifier((network or _network(made, len(classes))).eval(), made, classes, read, size)
    except NaseduError as error:  # before `KeyError`, which an unknown name is as well
        raise CheckpointError(sentence(f"{path} is no classifier: {error}")) from None
    except KeyError as error:
        raise CheckpointError(f"{path} is no classifier: it has no {error}") from None
    except (ValueError, TypeError) as error:
        raise CheckpointError(sentence(f"{path} is no classifier: {error}")) from None
    load_weights(classifier.network, path.with_name(WEIGHTS))
    return classifier


def _network(made: Mapping[str, Any], classes: int) -> nn.Module:
    if "space" in made:
        space = spaces.create(made["space"], **made["options"])
        return space.build(space.parse(made["architecture"]))
    home, _, name = str(made["network"]).partition(":")
    if home != "torchvision":
        raise ParameterError(f"its network was {brief(made['network'])}, code of somebody's own: name it yourself")
    return torchvision_network(name, classes)


def torchvision_network(name: str, num_classes: int | None = None) -> nn.Module:
    """A network of torchvision, without weights, so that nothing is downloaded. Raises `UnknownName`.

    name: as torchvision has it.
    num_classes: of its answers; None: its own number.
    """
    make = torchvision.models.get_model_builder(
        check_name("torchvision network", name, torchvision.models.list_models())
    )
    asked = inspect.signature(make).parameters.keys() & {"weights", "weights_backbone"}
    counted = {} if num_classes is None else {"num_classes": num_classes}
    return make(**dict.fromkeys(asked), **counted)
