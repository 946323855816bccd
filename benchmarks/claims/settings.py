"""How the nets of the claims train."""

from emul.training import Settings

#: For the small GPT on characters.
LETTERS = Settings(
    epochs=4,
    fine_tune_epochs=1,
    steps=150,
    batch=16,
    optimizer="adamw",
    learning_rate=4e-3,
    warm_up=20,
    clip=1.0,
)
