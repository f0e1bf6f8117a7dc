"""The look: tokens, stylesheets, icons, figures and small parts shared by every page."""

from studio.theme.design import TreadleDesign, component_css, page_css, stylesheets
from studio.theme.figures import apply_bokeh, bokeh_theme, holoviews_hook
from studio.theme.formats import ago, day, duration, exact, number, short_id, size
from studio.theme.icons import icon, icon_names
from studio.theme.palette import palette
from studio.theme.parts import button, empty_state, error_card, error_markup, html, pill, state_pill

__all__ = [
    "TreadleDesign",
    "ago",
    "apply_bokeh",
    "bokeh_theme",
    "button",
    "component_css",
    "day",
    "duration",
    "empty_state",
    "error_card",
    "error_markup",
    "exact",
    "holoviews_hook",
    "html",
    "icon",
    "icon_names",
    "number",
    "page_css",
    "palette",
    "pill",
    "short_id",
    "size",
    "state_pill",
    "stylesheets",
]
