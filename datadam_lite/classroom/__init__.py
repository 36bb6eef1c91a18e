"""For the classroom: checks that tell a student what is wrong."""

from datadam_lite.classroom.check import check_attention

__all__ = ["check_attention"]
