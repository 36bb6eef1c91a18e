"""For the classroom: checks that tell a student what is wrong."""

from datadam_lite.classroom.behaviour import behaviour
from datadam_lite.classroom.check import check_attention
from datadam_lite.classroom.redraw import redraw

__all__ = ["behaviour", "check_attention", "redraw"]
