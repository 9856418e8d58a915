"""The bundled architectures, one family a file; each class names the `shape` of one
input and the `data` of `wb.data` that it was trained on, and can be trained anew.

`ARCHITECTURES` are the three that everything is measured on. Why three: results on an over-parameterised network
alone mislead. The VGG-like net is over-parameterised, the ResNet-like net is of ordinary density, the MobileNetV2-like
net is compact. `LESSONS` each show one idea of design, on data as small.
"""

from workbench.models.architectures.blocks import Architecture
from workbench.models.architectures.enet import ScenesENet
from workbench.models.architectures.keywords import TonesDSCNN
from workbench.models.architectures.mobilenet import FashionMobileNet
from workbench.models.architectures.resnet import FashionResNet
from workbench.models.architectures.seresnet import FashionSEResNet
from workbench.models.architectures.shufflenet import FashionShuffleNet
from workbench.models.architectures.squeezenet import FashionSqueezeNet
from workbench.models.architectures.vgg import FashionVGG

__all__ = ["ARCHITECTURES", "BUNDLED", "LESSONS"]

ARCHITECTURES: dict[str, Architecture] = {
    "fashion-vgg": FashionVGG,
    "fashion-resnet": FashionResNet,
    "fashion-mobilenet": FashionMobileNet,
}
LESSONS: dict[str, Architecture] = {
    "fashion-squeezenet": FashionSqueezeNet,
    "fashion-shufflenet": FashionShuffleNet,
    "fashion-seresnet": FashionSEResNet,
    "scenes-enet": ScenesENet,
    "tones-dscnn": TonesDSCNN,
}
BUNDLED = ARCHITECTURES | LESSONS
