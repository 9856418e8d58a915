"""Search: the best variant under limits. A menu of options by layer, a choice of them by integer programming, a loop.

`menu` prices every option, `harm` finds what each costs in answers, `choice` picks the best under limits, `loop` builds
and measures what was picked, and corrects what the next choice stands on.
"""
