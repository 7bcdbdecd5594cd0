"""A window of time in a week: hours of the day, days of the week, at a fixed offset from UTC."""

import re
from datetime import datetime, timedelta, timezone

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Window:
    """The times at which calls are let through."""

    def __init__(self, hours, days, utc_offset):
        """Takes `09:00-17:30`, which may pass midnight, days such as `mon`, and `+01:00`. Raises ValueError."""
        self._text = " ".join(filter(None, [",".join(days or []), hours, f"UTC{utc_offset}"]))
        self._begin, self._end = _minutes_of(hours or "00:00-24:00")
        self._days = {DAYS.index(day) for day in days or DAYS}
        self._offset = _offset_of(utc_offset)

    def __str__(self):
        return self._text

    def is_open(self, now):
        """Whether the time, in milliseconds since 1970, is within the window."""
        local = EPOCH + timedelta(milliseconds=now) + self._offset
        minute = local.hour * 60 + local.minute
        if self._begin < self._end:
            return local.weekday() in self._days and self._begin <= minute < self._end
        # The window passes midnight: its part after midnight belongs to the day before.
        if minute >= self._begin:
            return local.weekday() in self._days
        return minute < self._end and (local.weekday() - 1) % 7 in self._days


def _minutes_of(hours):
    match = re.fullmatch(r"(\d\d):(\d\d)-(\d\d):(\d\d)", hours)
    if not match:
        raise ValueError(f"hours {hours!r}: not like 09:00-17:30")
    a, b, c, d = map(int, match.groups())
    begin, end = a * 60 + b, c * 60 + d
    if b > 59 or d > 59 or begin >= 24 * 60 or end > 24 * 60 or begin == end:
        raise ValueError(f"hours {hours!r}: no such time of day, or none between them")
    return begin, end


def _offset_of(text):
    match = re.fullmatch(r"([+-])(\d\d):(\d\d)", text)
    if not match or int(match[2]) > 14 or int(match[3]) > 59:
        raise ValueError(f"utc_offset {text!r}: not like +01:00")
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -offset if match[1] == "-" else offset
