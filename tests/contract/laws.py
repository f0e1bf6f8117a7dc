"""What can be asked of any store."""

from engine.ledger.verification import verify


def verified(catalog):
    """Return what a walk over the whole ledger finds."""
    with catalog.ledger() as (head, rows):
        return verify(rows, head)
