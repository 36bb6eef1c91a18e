"""The catalogue: ways in which attention functions go wrong, each as functions that do it.

A variant does everything right but for one thing. A hint names the concept and an experiment to try, and leaves it to
the reader to find the line. What differs from the equation by a factor only, such as a mean in place of the sum, is no
mistake: the normalisation takes it away.
"""

from datadam_lite.classroom.mistakes_of_code import CODE
from datadam_lite.classroom.mistakes_of_length import LENGTH
from datadam_lite.classroom.mistakes_of_the_sum import SUM

MISTAKES = (*SUM, *LENGTH, *CODE)
