"""Processes: a corruption run by a level schedule, plus noise run by a noise schedule.

One class, `Process`, and constructors that name its published members.
"""

from ._constructors import soft_blur as soft_blur, ve as ve
from ._process import Process as Process
