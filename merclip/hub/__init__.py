"""Models by name: found in the package, a directory or on the Hub; saved, sent; their cards."""

from merclip.hub.access import HubAccess
from merclip.hub.cards import card_licence, model_card
from merclip.hub.models import checkpoint_directory, load_model, model_directory, placed_model
from merclip.hub.saving import write_model
from merclip.hub.upload import push_directory

__all__ = [
    "HubAccess",
    "card_licence",
    "checkpoint_directory",
    "load_model",
    "model_card",
    "model_directory",
    "placed_model",
    "push_directory",
    "write_model",
]
