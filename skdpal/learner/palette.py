"""The colours of all drawings, told apart also by the colour-blind; a test simulates them (Machado et al. 2009)."""

__all__ = ["AMBER", "BLUE", "INK", "LINE", "ROSE", "SLATE", "SOFT", "VIOLET"]

INK, SOFT, LINE = "#1d2b36", "#5d6d7a", "#d5dde3"  # text, lesser text, rules
BLUE = "#0b6fa4"  # ours; what is paid
AMBER = "#d98e04"  # beware: public data that may not fit, what is not protected
ROSE = "#b8405e"  # ceilings, privacy noise, what is broken
SLATE = "#a9bac5"  # others, baselines, what is free
VIOLET = "#6c3dcc"  # one more
