"""LoRA training as diffusers' example script does it: PEFT layers, torch's AdamW, real clipping, one run at a time.

The engine is tested against it and timed against it. It knows nothing of the engine: only a run's configuration.
"""

import torch
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from torch.nn import functional as F

from labkit.design.target_modules import expanded


def draws(encoded, config, timesteps=1000):
    """Yield latents, noise, timesteps and words (B, ...) for each forward pass, drawn from torch's global state."""
    for _ in range(config.max_train_steps * config.gradient_accumulation_steps):
        index = torch.randint(len(encoded.mean), (config.train_batch_size,))
        latents = encoded.mean[index] + encoded.std[index] * torch.randn_like(encoded.mean[index])
        noise = torch.randn_like(latents)
        yield latents, noise, torch.randint(timesteps, (len(index),)), encoded.cond["encoder_hidden_states"][index]


def add_adapter(unet, config, initial=None):
    """Inject PEFT's layers; `initial` sets their weights by `<module>.lora_A.weight` and the like."""
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=config.rank, lora_alpha=config.alpha or config.rank, use_rslora=config.use_rslora,
                                init_lora_weights="gaussian" if config.init_lora_weights == "gaussian" else True,
                                target_modules=list(expanded(config.targets))))
    cast_training_params(unet, dtype=torch.float32)
    trained = {name.replace(".default", ""): p for name, p in unet.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, array in (initial or {}).items():
            trained[name].copy_(torch.as_tensor(array))
    return trained


def steps(unet, noise_scheduler, trained, config, batches, lr_scheduler=None):
    """Yield the loss of each update; `lr_scheduler` makes one of torch's from the optimizer."""
    params, passes = list(trained.values()), config.gradient_accumulation_steps
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(params, lr=config.learning_rate, weight_decay=config.weight_decay)
    else:
        optimizer = torch.optim.AdamW(params, lr=config.learning_rate, betas=(config.adam_beta1, config.adam_beta2),
                                      eps=config.adam_epsilon, weight_decay=config.weight_decay)
    schedule = lr_scheduler(optimizer) if lr_scheduler else None
    batches = iter(batches)
    for _ in range(config.max_train_steps):
        total = 0.0
        for _ in range(passes):
            latents, noise, timesteps, words = next(batches)
            noisy_latents = noise_scheduler.add_noise(latents, noise, timesteps)
            model_pred = unet(noisy_latents, timesteps, words).sample
            velocity = noise_scheduler.config.prediction_type == "v_prediction"
            target = noise_scheduler.get_velocity(latents, noise, timesteps) if velocity else noise
            if config.prior_loss_weight:                     # the base's own pictures are the second half of the batch
                model_pred, model_pred_prior = torch.chunk(model_pred, 2, dim=0)
                target, target_prior = torch.chunk(target, 2, dim=0)
            loss = F.mse_loss(model_pred.float(), target.float())
            if config.prior_loss_weight:
                loss = loss + config.prior_loss_weight * F.mse_loss(model_pred_prior.float(), target_prior.float())
            (loss / passes).backward()
            total += loss.item() / passes
        if config.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(params, config.max_grad_norm)
        optimizer.step()
        if schedule:
            schedule.step()
        optimizer.zero_grad()
        yield total
