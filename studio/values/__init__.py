"""How any stored value is shown: tables, charts, reports, text, JSON and bytes."""

from studio.values.view import ValueState, stored_view, value_view

__all__ = ["ValueState", "stored_view", "value_view"]
