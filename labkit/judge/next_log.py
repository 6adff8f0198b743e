"""The settings with which a trainer logs a validation loss, so that its next log can be judged.

Looked up in: kohya-ss/sd-scripts docs/validation.md; Nerogar/OneTrainer modules/trainer/GenericTrainer.py
(`__validate`); bghira/SimpleTuner documentation/evaluation/EVAL_LOSS.md; ostris/ai-toolkit toolkit/config_modules.py
(ValidationConfig) and the form of its pages; huggingface/diffusers
examples/text_to_image/train_text_to_image_lora.py; transformers' TrainingArguments; victorchall/EveryDream2trainer
doc/VALIDATION.md.
"""

from labkit.store.log_tags import AITOOLKIT, DIFFUSERS, EVERYDREAM, KOHYA, ONETRAINER, SIMPLETUNER, TRANSFORMERS

HOW = {
    KOHYA: "Next time add --validation_split 0.15 --validation_seed 42 --validate_every_n_epochs 1, with ten epochs "
           "or more: it then logs loss/validation/epoch_average on fixed noise. (By --validate_every_n_steps it keeps "
           "values of the first epoch in its average.)",
    ONETRAINER: "Next time put a few pictures into a concept of type VALIDATION, and switch Validation on under "
                "General, with Validate after: 50 STEP; it then logs loss/validation_step/... on fixed noise.",
    SIMPLETUNER: 'Next time add a dataset with "dataset_type": "eval" to the dataloader\'s configuration, and '
                 "--eval_steps_interval 50 --num_eval_images 8: it then logs loss/val on fixed noise.",
    AITOOLKIT: "Next time switch on Validation in the job (ai-toolkit of July 2026 or later), or under train set "
               "validation_config: validate_every_n_steps: 50, validation_sigmas: [1.0, 0.75, 0.5, 0.25], and under "
               "validation_items an image_path and a prompt for each of a few pictures that are not trained on: it "
               "then logs val/loss on fixed noise.",
    DIFFUSERS: "The scripts of diffusers measure no validation loss: use a trainer that does, or hold pictures out "
               "and measure the checkpoints that --checkpointing_steps 100 keeps.",
    TRANSFORMERS: "Next time give the Trainer an eval_dataset, with eval_strategy='steps' and eval_steps=50, and draw "
                  "the noise of the evaluation from a fixed seed.",
    EVERYDREAM: 'Next time set "validate_training": true and "stabilize_training_loss": true in the validation '
                "config: it then logs loss/val and loss/train-stabilized on fixed noise.",
}
ANY = ("Next time have the trainer hold a few pictures out and log their loss at least twenty times on the same noise "
       "and timesteps: kohya sd-scripts by --validation_split, OneTrainer by a VALIDATION concept, SimpleTuner by a "
       "dataset of type eval.")


def next_log(trainer: str) -> str:
    """Return what to set so that the next log of a trainer can be judged."""
    return HOW.get(trainer, ANY)
