"""Level schedules by optimal transport."""

from ._schedule import (
    TransportSchedule as TransportSchedule,
    transport_schedule as transport_schedule,
)
