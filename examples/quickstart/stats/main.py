"""Numbers: every public function of this file can be called."""

import asyncio
import os
import statistics
from dataclasses import dataclass
from datetime import date


@dataclass
class Payment:
    due: date
    amount: float
    currency: str


def summarize(values: list) -> dict:
    """Count, mean, median and spread of some numbers."""
    if not values:
        raise ValueError("there is nothing to summarize")
    return {
        "count": len(values),
        "mean": statistics.fmean(values),
        "median": statistics.median(values),
        "spread": round(statistics.pstdev(values), 3),
    }


def binomial(n: int, k: int) -> int:
    """The number of ways to choose k of n; integers are exact at any size."""
    result = 1
    for i in range(k):
        result = result * (n - i) // (i + 1)
    return result


def payments(amount: float, parts: int, first: str) -> list:
    """Splits an amount into monthly payments; dataclasses and dates become JSON."""
    start = date.fromisoformat(first)
    months = [start.month - 1 + i for i in range(parts)]
    dates = [start.replace(year=start.year + m // 12, month=m % 12 + 1) for m in months]
    return [Payment(due, round(amount / parts, 2), os.environ["CURRENCY"]) for due in dates]


async def slow_mean(values: list, seconds: float) -> float:
    """Waits before it returns; the worker runs other calls in the meantime."""
    await asyncio.sleep(seconds)
    return statistics.fmean(values)
