"""Load the models of a base from its files with diffusers and transformers."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labkit.engine.base_files import BaseFiles
from labkit.engine.old_keys import old_text_encoder
from labkit.errors import LabError, first_cause


@contextlib.contextmanager
def fitting_files(name: str) -> Iterator[None]:
    """Turn any error that loading the base of this name raises inside this context into a LabError.

    The libraries build models from unchecked files, and fail on odd ones in every way.
    """
    try:
        yield
    except (LabError, ImportError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LabError(f"base: {name} could not be loaded ({reason}). "
                       "Its files do not fit each other or this version of diffusers; download it again.") from error


def load_libraries() -> tuple[type, ...]:
    """Import and return the classes that bases are loaded with.

    LabError: the import fails, which is no fault of the base; its sentence tells the cause.
    """
    try:
        # here: they take seconds to import
        from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer
    except Exception as error:                                # they wrap what they meet in errors of many kinds
        raise LabError(f"diffusers or transformers cannot be imported ({first_cause(error)}): "
                       "`labkit checkup` says what to do.") from error
    schedulers = DDPMScheduler, DPMSolverMultistepScheduler
    return *schedulers, AutoencoderKL, UNet2DConditionModel, CLIPTextModel, CLIPTokenizer


def load_models(files: BaseFiles) -> dict[str, Any]:
    """Return U-Net, autoencoder, text encoder(s), tokenizer(s) and noise scheduler, as the libraries load them.

    They have the names that diffusers gives a pipeline's parts, the scheduler excepted, which is noise_scheduler.
    """
    from diffusers import DDPMScheduler  # here: seconds to import

    parts = _from_single_file(files.single_file, files) if files.single_file else _from_folder(files)
    return parts | {"noise_scheduler": DDPMScheduler.from_pretrained(**_local(files), subfolder="scheduler")}


def load_tokenizer(files: BaseFiles) -> Any:
    """Return the tokenizer of a base, without loading the rest; LabError where transformers cannot."""
    try:
        from transformers import CLIPTokenizer  # here: seconds to import

        return CLIPTokenizer.from_pretrained(**_local(files), subfolder="tokenizer")
    except Exception as error:                                # as above
        raise LabError(f"base: the tokenizer of {files.name} could not be loaded ({first_cause(error)}).") from error


def _local(files: BaseFiles) -> dict[str, Any]:
    """Return the arguments that let a library read the base's folder and nothing else."""
    return {"pretrained_model_name_or_path": str(files.folder), "local_files_only": True}


def _from_single_file(path: Path, files: BaseFiles) -> dict[str, Any]:
    """Load from one file with the original Stable Diffusion keys; the folder holds the configurations alone."""
    # seconds to import, and only needed here
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
    from diffusers.loaders.single_file_utils import SingleFileComponentError
    from transformers import CLIPTextConfig, CLIPTextModel

    ready = {}
    if weights := old_text_encoder(path):
        config = CLIPTextConfig.from_pretrained(**_local(files), subfolder="text_encoder")
        ready["text_encoder"], report = CLIPTextModel.from_pretrained(None, config=config, state_dict=weights,
                                                                      output_loading_info=True)
        if missing := sorted(report["missing_keys"]):         # which would be drawn at random
            raise ValueError(f"its text encoder lacks {missing[0]}")
    kind = StableDiffusionXLPipeline if files.is_xl else StableDiffusionPipeline
    options = {"add_watermarker": False} if files.is_xl else {"safety_checker": None, "requires_safety_checker": False}
    try:
        pipe = kind.from_single_file(str(path), config=str(files.folder), local_files_only=True, **options, **ready)
    except SingleFileComponentError as error:                 # an Exception of its own kind, of several lines
        raise ValueError(str(error)) from error
    return {part: getattr(pipe, part) for part in _parts(files)}


def _parts(files: BaseFiles) -> tuple[str, ...]:
    one = "unet", "vae", "text_encoder", "tokenizer"
    return (*one, "text_encoder_2", "tokenizer_2") if files.is_xl else one


def _from_folder(files: BaseFiles) -> dict[str, Any]:
    """Load from a folder in diffusers' layout, in the variant that its weights have."""
    from diffusers import AutoencoderKL, UNet2DConditionModel  # here: seconds to import
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    def weights(part: str) -> dict[str, Any]:
        variant = "fp16" if ".fp16." in files.weights[part].name else None
        return _local(files) | {"subfolder": part, "use_safetensors": True, "variant": variant}

    ways = {
        "unet": lambda part: UNet2DConditionModel.from_pretrained(**weights(part), low_cpu_mem_usage=False),
        "vae": lambda part: AutoencoderKL.from_pretrained(**weights(part), low_cpu_mem_usage=False),
        "text_encoder": lambda part: CLIPTextModel.from_pretrained(**weights(part)),
        "text_encoder_2": lambda part: CLIPTextModelWithProjection.from_pretrained(**weights(part)),
        "tokenizer": lambda part: CLIPTokenizer.from_pretrained(**_local(files), subfolder=part),
        "tokenizer_2": lambda part: CLIPTokenizer.from_pretrained(**_local(files), subfolder=part)}
    return {part: ways[part](part) for part in _parts(files)}


def pipeline(base: Any) -> Any:
    """Return diffusers' own pipeline of a loaded base's models, with the base's sampler."""
    # they load slowly, and remark on what is not installed
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    shared = {name: getattr(base, name) for name in ("vae", "text_encoder", "tokenizer", "unet")}
    if base.text_encoder_2 is None:
        return StableDiffusionPipeline(**shared, scheduler=base.sampler(), safety_checker=None,
                                       feature_extractor=None, requires_safety_checker=False)
    return StableDiffusionXLPipeline(**shared, scheduler=base.sampler(), text_encoder_2=base.text_encoder_2,
                                     tokenizer_2=base.tokenizer_2, add_watermarker=False,
                                     force_zeros_for_empty_prompt=base.zeros_for_empty)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' progress bars and messages out of the notebook; restore their settings at the end."""
    from diffusers.utils import logging as diffusers_logging  # here: seconds to import
    from transformers.utils import logging as transformers_logging

    logs = diffusers_logging, transformers_logging
    before = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    try:
        for log in logs:
            log.set_verbosity_error()
            log.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, verbosity, bar in before:
            log.set_verbosity(verbosity)
            if bar:
                log.enable_progress_bar()
