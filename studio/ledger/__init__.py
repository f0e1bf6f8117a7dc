"""The ledger: what changed, who did it, and the proof."""
