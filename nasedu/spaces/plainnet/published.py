"""Structure strings that were published, with their true counts: facts read from the authors' repositories.

ZenNets: the files of idstcv/ZenNAS under ZenNet/. The authors' own formula counts otherwise: see `blocks.plain_cost`.
"""

from __future__ import annotations

from nasedu.spaces.macro import Published

# Where the authors' searches start: scripts/Zen_NAS_*.sh.
CIFAR_SEED = (
    "SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(8,16,1,8,1)SuperResK3K3(16,32,2,16,1)SuperResK3K3(32,64,2,32,1)"
    "SuperResK3K3(64,64,2,32,1)SuperConvK1BNRELU(64,128,1,1)"
)
LATENCY_SEED = (  # the scripts write 256 input channels into the last block, where 512 arrive
    "SuperConvK3BNRELU(3,32,2,1)SuperResK3K3(32,64,2,32,1)SuperResK3K3(64,128,2,64,1)"
    "SuperResK3K3(128,256,2,128,1)SuperResK3K3(256,512,2,256,1)SuperConvK1BNRELU(512,512,1,1)"
)
MACS_SEED = (
    "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE6K3(8,32,2,8,1)SuperResIDWE6K3(32,48,2,32,1)"
    "SuperResIDWE6K3(48,96,2,48,1)SuperResIDWE6K3(96,128,2,96,1)SuperConvK1BNRELU(128,2048,1,1)"
)

_IMAGENET = {"input_size": 224, "num_classes": 1000}
_MOBILE = _IMAGENET | {"blocks": "idw", "squeeze_excite": True}
_CIFAR = {"input_size": 32, "num_classes": 10}

PUBLISHED = {
    "CIFAR seed": Published(
        CIFAR_SEED,
        6_710_528,
        90_962,
        "idstcv/ZenNAS, scripts/Zen_NAS_cifar_params1M.sh: where the CIFAR searches start",
        _CIFAR,
    ),
    "ZenNet-0.5M": Published(
        "SuperConvK3BNRELU(3,64,1,1)SuperResK1K5K1(64,168,1,16,3)SuperResK1K3K1(168,80,2,32,4)"
        "SuperResK1K5K1(80,112,2,16,3)SuperResK1K5K1(112,144,1,24,3)SuperResK1K3K1(144,32,2,40,1)"
        "SuperConvK1BNRELU(32,512,1,1)",
        136_096_768,
        500_466,
        "zennet_cifar_model_size05M_res32.txt: .5M parameters, 140M, 96.2 % on CIFAR-10 (the authors')",
        _CIFAR,
    ),
    "ZenNet-1.0M": Published(
        "SuperConvK3BNRELU(3,88,1,1)SuperResK1K7K1(88,120,1,16,1)SuperResK1K7K1(120,192,2,16,3)"
        "SuperResK1K5K1(192,224,1,24,4)SuperResK1K5K1(224,96,2,24,2)SuperResK1K3K1(96,168,2,40,3)"
        "SuperResK1K3K1(168,112,1,48,3)SuperConvK1BNRELU(112,512,1,1)",
        159_213_568,
        994_674,
        "zennet_cifar_model_size1M_res32.txt: 1.0M parameters, 162M, 96.2 % on CIFAR-10 (the authors')",
        _CIFAR,
    ),
    "ZenNet-2.0M": Published(
        "SuperConvK3BNRELU(3,32,1,1)SuperResK1K5K1(32,120,1,40,1)SuperResK1K5K1(120,176,2,32,3)"
        "SuperResK1K7K1(176,272,1,24,3)SuperResK1K3K1(272,176,1,56,3)SuperResK1K3K1(176,176,1,64,4)"
        "SuperResK1K5K1(176,216,2,40,2)SuperResK1K3K1(216,72,2,56,2)SuperConvK1BNRELU(72,512,1,1)",
        481_432_576,
        1_981_810,
        "zennet_cifar_model_size2M_res32.txt: 2.0M parameters, 487M, 97.5 % on CIFAR-10 (the authors')",
        _CIFAR,
    ),
    "ZenNet-400M-SE": Published(
        "SuperConvK3BNRELU(3,16,2,1)SuperResIDWE1K7(16,40,2,40,1)SuperResIDWE1K7(40,64,2,64,1)"
        "SuperResIDWE4K7(64,96,2,96,5)SuperResIDWE2K7(96,224,2,224,5)SuperConvK1BNRELU(224,2048,1,1)",
        401_959_872,
        7_466_024,
        "zennet_imagenet1k_flops400M_res224.txt: 410M, 78.0 % on ImageNet (the authors'); its 5.7M leave SE out",
        _MOBILE,
    ),
    "ZenNet-600M-SE": Published(
        "SuperConvK3BNRELU(3,24,2,1)SuperResIDWE1K7(24,48,2,48,1)SuperResIDWE2K7(48,72,2,72,1)"
        "SuperResIDWE6K7(72,96,2,88,5)SuperResIDWE4K7(96,192,2,168,5)SuperConvK1BNRELU(192,2048,1,1)",
        601_656_800,
        11_311_664,
        "zennet_imagenet1k_flops600M_res224.txt: 611M, 79.1 % on ImageNet (the authors'); its 7.1M leave SE out",
        _MOBILE,
    ),
    "ZenNet-900M-SE": Published(
        "SuperConvK3BNRELU(3,16,2,1)SuperResIDWE1K7(16,48,2,72,1)SuperResIDWE2K7(48,72,2,64,3)"
        "SuperResIDWE2K7(72,152,2,144,3)SuperResIDWE2K7(152,360,2,352,4)SuperResIDWE4K7(360,288,1,264,3)"
        "SuperConvK1BNRELU(288,2048,1,1)",
        915_283_136,
        19_351_644,
        "zennet_imagenet1k_flops900M_res224.txt: 19.4M parameters, 934M, 80.8 % on ImageNet (the authors')",
        _MOBILE,
    ),
    "ZenNet-0.1ms": Published(
        "SuperConvK3BNRELU(3,24,2,1)SuperResK3K3(24,32,2,64,1)SuperResK5K5(32,64,2,32,1)"
        "SuperResK5K5(64,168,2,96,1)SuperResK1K5K1(168,320,1,120,1)SuperResK1K5K1(320,640,2,304,3)"
        "SuperResK1K5K1(640,512,1,384,1)SuperConvK1BNRELU(512,2384,1,1)",
        1_756_624_768,
        30_068_776,
        "zennet_imagenet1k_latency01ms_res224.txt: 30.1M parameters, 1.7B, 77.8 % on ImageNet (the authors')",
        _IMAGENET,
    ),
    "ZenNet-0.2ms": Published(
        "SuperConvK3BNRELU(3,24,2,1)SuperResK1K5K1(24,32,2,32,1)SuperResK1K7K1(32,104,2,64,1)"
        "SuperResK1K5K1(104,512,2,160,1)SuperResK1K5K1(512,344,1,192,1)SuperResK1K5K1(344,688,2,320,4)"
        "SuperResK1K5K1(688,680,1,304,3)SuperConvK1BNRELU(680,2552,1,1)",
        3_416_128_768,
        49_681_944,
        "zennet_imagenet1k_latency02ms_res224.txt: 49.7M parameters, 3.4B, 80.8 % on ImageNet (the authors')",
        _IMAGENET,
    ),
    "ZenNet-0.3ms": Published(
        "SuperConvK3BNRELU(3,24,2,1)SuperResK1K5K1(24,64,2,32,1)SuperResK1K3K1(64,128,2,128,1)"
        "SuperResK1K7K1(128,432,2,128,1)SuperResK1K5K1(432,272,1,160,1)SuperResK1K5K1(272,848,2,384,4)"
        "SuperResK1K5K1(848,848,1,320,3)SuperResK1K5K1(848,456,1,320,3)SuperConvK1BNRELU(456,6704,1,1)",
        4_871_869_312,
        85_379_160,
        "zennet_imagenet1k_latency03ms_res224.txt: 85.4M parameters, 4.8B, 81.5 % on ImageNet (the authors')",
        _IMAGENET,
    ),
    "ZenNet-0.5ms": Published(
        "SuperConvK3BNRELU(3,8,2,1)SuperResK1K7K1(8,64,2,32,1)SuperResK1K3K1(64,152,2,128,1)"
        "SuperResK1K5K1(152,640,2,192,4)SuperResK1K5K1(640,640,1,192,2)SuperResK1K5K1(640,1536,2,384,4)"
        "SuperResK1K5K1(1536,816,1,384,3)SuperResK1K5K1(816,816,1,384,3)SuperConvK1BNRELU(816,5304,1,1)",
        8_331_553_344,
        118_179_592,
        "zennet_imagenet1k_latency05ms_res224.txt: 118M parameters, 8.3B, 82.7 % on ImageNet (the authors')",
        _IMAGENET,
    ),
    "ZenNet-0.8ms": Published(
        "SuperConvK3BNRELU(3,16,2,1)SuperResK1K5K1(16,64,2,64,1)SuperResK1K3K1(64,240,2,128,2)"
        "SuperResK1K7K1(240,640,2,160,3)SuperResK1K7K1(640,768,1,192,4)SuperResK1K5K1(768,1536,2,384,5)"
        "SuperResK1K5K1(1536,1536,1,384,3)SuperResK1K5K1(1536,2304,1,384,5)SuperConvK1BNRELU(2304,4912,1,1)",
        13_922_530_176,
        182_504_488,
        "zennet_imagenet1k_latency08ms_res224.txt: 183M parameters, 13.9B, 83.0 % on ImageNet (the authors')",
        _IMAGENET,
    ),
    "ZenNet-1.2ms": Published(
        "SuperConvK3BNRELU(3,32,2,1)SuperResK1K5K1(32,80,2,32,1)SuperResK1K7K1(80,432,2,128,5)"
        "SuperResK1K7K1(432,640,2,192,3)SuperResK1K7K1(640,1008,1,160,5)SuperResK1K7K1(1008,976,1,160,4)"
        "SuperResK1K5K1(976,2304,2,384,5)SuperResK1K5K1(2304,2496,1,384,5)SuperConvK1BNRELU(2496,3072,1,1)",
        21_974_189_056,
        180_593_736,
        "zennet_imagenet1k_latency12ms_res224.txt: 180M parameters, 22.0B, 83.6 % on ImageNet (the authors')",
        _IMAGENET,
    ),
    "EZenNet-s": Published(
        "SuperConvK3BNRELU(3,56,1,1)SuperResK7K7(56,48,1,8,5)SuperResK1K3K1(48,200,2,32,3)"
        "SuperResK1K5K1(200,160,1,24,3)SuperResK1K7K1(160,624,2,16,4)SuperResK1K3K1(624,48,2,40,1)"
        "SuperConvK1BNRELU(48,304,1,1)",
        304_667_616,
        978_586,
        "SeoulTech-HCIRLab/IncorporatedNAS, ezennet_cifa_model_size1M_res32_s.txt: 96.86 % on CIFAR-10 (the authors')",
        _CIFAR,
    ),
    "EZenNet-l": Published(
        "SuperConvK3BNRELU(3,240,1,1)SuperResK1K5K1(240,96,1,24,3)SuperResK1K7K1(96,240,1,24,3)"
        "SuperResK1K7K1(240,240,1,24,3)SuperResK1K3K1(240,48,2,64,1)SuperResK7K7(48,32,2,8,4)"
        "SuperResK1K5K1(32,120,2,24,2)SuperConvK1BNRELU(120,160,1,1)",
        766_460_480,
        1_036_434,
        "SeoulTech-HCIRLab/IncorporatedNAS, ezennet_cifar_model_size1M_res32_l.txt: 96.66 % on CIFAR-10 (the authors')",
        _CIFAR,
    ),
}
