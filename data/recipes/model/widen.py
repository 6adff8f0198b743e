"""Give a base more latent channels, so that it can be trained on from there: the new ones begin almost silent.

In the folder data, then autoencoder.py and denoiser.py with --start FOLDER:

    python -m recipes.model.widen OLD --out FOLDER
"""

import argparse

import torch

from recipes.model.architecture import LATENT_CHANNELS, build_pipeline, build_unet, build_vae, load_base, save_base

QUIET = -4.0  # log-variance that new channels begin with, near that of trained ones


def padded(value, own):
    """A tensor in the shape of `own`: zero where `value` has no number."""
    wide = torch.zeros_like(own)
    wide[tuple(map(slice, value.shape))] = value
    return wide


def widened_unet(unet):
    """The UNet over LATENT_CHANNELS: new channels of its input have no effect, those of its output are zero."""
    wide = build_unet()
    own = wide.state_dict()
    wide.load_state_dict({key: padded(value, own[key]) for key, value in unet.state_dict().items()})
    return wide


@torch.no_grad()
def widened_vae(vae):
    """The autoencoder over LATENT_CHANNELS: old channels as they were, new ones with fresh small weights."""
    few, wide = vae.config.latent_channels, build_vae(vae.config.scaling_factor)
    own, old = wide.state_dict(), vae.state_dict()
    wide.load_state_dict({key: value for key, value in old.items() if value.shape == own[key].shape}, strict=False)
    rows = torch.tensor([*range(few), *range(LATENT_CHANNELS, LATENT_CHANNELS + few)])  # means, then log-variances
    wide.encoder.conv_out.bias[LATENT_CHANNELS:] = QUIET
    wide.encoder.conv_out.weight[rows] = old["encoder.conv_out.weight"]
    wide.encoder.conv_out.bias[rows] = old["encoder.conv_out.bias"]
    for name, module, mapped in (("quant_conv", wide.quant_conv, rows),
                                 ("post_quant_conv", wide.post_quant_conv, rows[:few])):
        matrix = torch.eye(len(module.weight))
        matrix[mapped[:, None], mapped] = old[f"{name}.weight"][..., 0, 0]
        module.weight.copy_(matrix[..., None, None])
        module.bias.zero_()
        module.bias[mapped] = old[f"{name}.bias"]
    wide.decoder.conv_in.weight.mul_(0.1)
    wide.decoder.conv_in.weight[:, :few] = old["decoder.conv_in.weight"]
    wide.decoder.conv_in.bias.copy_(old["decoder.conv_in.bias"])
    return wide


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="a base of fewer latent channels")
    parser.add_argument("--out", required=True)
    a = parser.parse_args()
    old = load_base(a.base)
    save_base(build_pipeline(old.tokenizer, old.text_encoder, widened_vae(old.vae), widened_unet(old.unet)), a.out)
