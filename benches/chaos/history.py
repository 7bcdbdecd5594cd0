"""The history of a run and its checker: what every call, every change of a release and every process came to, in files
of tab-separated lines, and the promises that they must keep. The clients and the nemesis write it; nothing here knows
how they work.

calls-*.tsv     nonce, deployment, began, ended, outcome, nonce of the answer, release of the answer
runs/*          the nonces that one worker has run, in order
events.tsv      time, event, and what it is about: see EVENTS
memory.tsv      time, process id, resident bytes of the gateway

Times are seconds of the monotonic clock. An outcome is a status with a code (`200 -`, `503 overloaded`), or `hung` (no
answer in time), `broken` (the connection ended before the answer), `left` (the client did not wait); of a stream also
`cut` (it ended visibly before its last item), `silent` (it looks complete and is not), `garbled` (it has wrong items).
"""
import bisect
import itertools
import statistics
from collections import Counter
from pathlib import Path
from typing import NamedTuple

EVENTS = {
    "listening": "a gateway accepts calls: process id",
    "killed": "a gateway was killed: process id",
    "ended": "a gateway has ended after SIGTERM: process id, exit code",
    "died": "a gateway has ended by itself: process id, exit code",
    "begun": "a change of a release began: deployment, release",
    "acknowledged": "it was answered 200: deployment, release",
    "refused": "it was answered otherwise: deployment, release, status and code",
    "unanswered": "no answer to it came in time: deployment, release",
    "lost": "its connection ended before the answer: deployment, release",
    "left": "a process of a worker lives after all gateways have ended: process id, command",
    "act": "the nemesis has acted: what it did",
}
# Answers that the acts of the nemesis explain. Other errors are faults.
EXPLAINED = {"502 worker_crashed", "503 crash_loop", "503 draining", "503 overloaded", "503 plugin_failed",
             "503 spawn_failed", "503 starting", "504 call_timeout"}
# Errors that say that the function has not run.
NOT_RUN = {"503 crash_loop", "503 overloaded", "503 spawn_failed", "503 starting"}
GROWTH = 1.10  # of the gateway's memory, from the first to the last quarter of the life of the last gateway
SAMPLES = 8  # of its memory at least, or nothing is said about growth
SHOWN = 5  # faults of each kind


class Call(NamedTuple):
    nonce: str
    deployment: str
    began: float
    ended: float
    outcome: str
    answered: str = "-"
    release: int = 0

    def line(self):
        return (f"{self.nonce}\t{self.deployment}\t{self.began:.6f}\t{self.ended:.6f}\t{self.outcome}\t"
                f"{self.answered}\t{self.release}\n")


class Event(NamedTuple):
    time: float
    kind: str
    about: tuple

    def line(self):
        return "\t".join([f"{self.time:.6f}", self.kind, *map(str, self.about)]) + "\n"


def calls(folder):
    for file in sorted(folder.glob("calls-*.tsv")):
        with file.open() as lines:
            for line in lines:
                nonce, deployment, began, ended, outcome, answered, release = line.rstrip("\n").split("\t")
                yield Call(nonce, deployment, float(began), float(ended), outcome, answered, int(release))


def events(folder):
    for line in (folder / "events.tsv").read_text().splitlines():
        time, kind, *about = line.split("\t")
        yield Event(float(time), kind, tuple(about))


def runs(folder):
    """Returns how often each nonce has run."""
    counted = Counter()
    for file in (folder / "runs").iterdir():
        # A worker that was killed may have left half a line, of a call without an answer.
        counted.update(line[:-1] for line in file.open() if line.endswith("\n"))
    return counted


def memory(folder):
    """Returns the samples of the last gateway: (time, bytes)."""
    rows = [line.split("\t") for line in (folder / "memory.tsv").read_text().splitlines()]
    return [(float(time), int(size)) for time, pid, size in rows if pid == rows[-1][1]]


class Releases:
    """Which releases of a deployment a call may meet."""

    def __init__(self, all_events):
        self.begun, self.refused = {}, set()
        self.first = {}  # by deployment: when each release was first acknowledged, or first answered a call
        self.steps = None
        for time, kind, about in all_events:
            if kind in ("begun", "refused", "acknowledged"):
                deployment, release = about[0], int(about[1])
                if kind == "begun":
                    self.begun.setdefault((deployment, release), time)
                elif kind == "refused":
                    self.refused.add((deployment, release))
                else:
                    self.see(deployment, release, time)

    def see(self, deployment, release, time):
        times = self.first.setdefault(deployment, {})
        times[release] = min(times.get(release, time), time)

    def newest(self, call):
        """Returns the newest release that had been acknowledged, or had answered, before the call began."""
        if self.steps is None:
            self.steps = {}
            for deployment, times in self.first.items():
                ordered = sorted((time, release) for release, time in times.items())
                highest = itertools.accumulate((release for _, release in ordered), max)
                self.steps[deployment] = ([time for time, _ in ordered], list(highest))
        times, highest = self.steps[call.deployment]
        before = bisect.bisect_left(times, call.began)
        return highest[before - 1] if before else 0

    def fault(self, call):
        """Returns what is wrong with the release of an answer, if anything."""
        this = (call.deployment, call.release)
        if this in self.refused:
            return f"release {call.release} answered, and its deploy was refused"
        if self.begun.get(this, float("inf")) > call.ended:
            return f"release {call.release} answered before its deploy began"
        newest = self.newest(call)
        return f"release {call.release} answered, and {newest} was acknowledged" if call.release < newest else None


class Faults:
    """Counts faults by kind, and keeps the first few."""

    def __init__(self):
        self.counts, self.examples = Counter(), {}

    def add(self, kind, text):
        self.counts[kind] += 1
        self.examples.setdefault(kind, []).append(text) if self.counts[kind] <= SHOWN else None


def outages(all_events):
    """Returns the times without a gateway because it was killed: (killed, the next one listens)."""
    killed, found = None, []
    for event in all_events:
        if event.kind == "killed":
            killed = event.time
        elif event.kind == "listening" and killed is not None:
            found.append((killed, event.time))
            killed = None
    return found + ([(killed, float("inf"))] if killed is not None else [])


def check_call(call, ran, answers, without, faults):
    """Checks everything about a call but the release of its answer."""
    about = f"call {call.nonce} of {call.deployment}: {call.outcome}"
    ok = call.outcome == "200 -"
    if call.outcome == "stray":
        faults.add("twice", f"bytes that belong to no call arrived after an answer, with the nonce {call.answered}")
        return
    if call.outcome == "hung":
        faults.add("hung", f"{about} after {call.ended - call.began:.1f} s")
    elif call.outcome in ("silent", "garbled"):
        faults.add("wrong", about)
    elif call.outcome == "broken":
        if not any(call.began <= listens and killed <= call.ended for killed, listens in without):
            faults.add("broken", f"{about} at {call.ended:.3f}, while the gateway ran or stopped in order")
    elif not ok and call.outcome not in ("left", "cut") and call.outcome not in EXPLAINED:
        faults.add("unexplained", about)
    if ok and call.answered != call.nonce:
        faults.add("wrong", f"{about} with the nonce {call.answered}")
    if ok:
        answers[call.answered] += 1
    if ran > 1:
        faults.add("twice", f"{about}, ran {ran} times")
    if ok and not ran:
        faults.add("wrong", f"{about}, and it never ran")
    if call.outcome in NOT_RUN and ran:
        faults.add("wrong", f"{about}, and it ran")


def check_events(all_events, without, faults):
    for event in all_events:
        about = " ".join(event.about)
        if event.kind == "left":
            faults.add("leaked", f"process {about} lives after the end of the gateway")
        elif event.kind == "died":
            faults.add("died", f"the gateway {about} ended by itself")
        elif event.kind == "ended" and event.about[1] != "0":
            faults.add("died", f"the gateway ended with code {event.about[1]} after SIGTERM")
        elif event.kind == "lost" and not any(killed <= event.time <= listens for killed, listens in without):
            faults.add("broken", f"the change {about} lost its connection, while the gateway ran")
        elif event.kind == "unanswered":
            faults.add("hung", f"the change {about} was never answered")


def growth(samples):
    """Returns the median memory in the first and in the last quarter of the time; none if there are too few."""
    if len(samples) < SAMPLES:
        return None
    start, end = samples[0][0], samples[-1][0]
    quarter = (end - start) / 4
    first = [size for time, size in samples if time <= start + quarter]
    last = [size for time, size in samples if time >= end - quarter]
    return statistics.median(first), statistics.median(last)


def check(folder, slack=0):
    """Checks the history in a folder. Returns the faults and the number of calls by outcome. The memory of the gateway
    may grow by `slack` bytes more."""
    folder = Path(folder)
    all_events, ran, faults = list(events(folder)), runs(folder), Faults()
    releases, without = Releases(all_events), outages(all_events)
    for call in calls(folder):
        if call.outcome == "200 -":
            releases.see(call.deployment, call.release, call.ended)
    outcomes, answers = Counter(), Counter()
    for call in calls(folder):
        outcomes[call.outcome] += 1
        check_call(call, ran.pop(call.nonce, 0), answers, without, faults)
        if call.outcome == "200 -" and (fault := releases.fault(call)):
            faults.add("old", f"call {call.nonce} of {call.deployment}: {fault}")
    for nonce, count in answers.items():
        if count > 1:
            faults.add("twice", f"call {nonce} was answered {count} times")
    for nonce in ran:
        faults.add("wrong", f"{nonce!r} ran and was never called")
    check_events(all_events, without, faults)
    quarters = growth(memory(folder))
    if quarters and quarters[1] > quarters[0] * GROWTH + slack:
        faults.add("grown", f"memory of the gateway grew from {quarters[0]:.0f} to {quarters[1]:.0f} bytes")
    if outcomes["200 -"] * 2 < outcomes.total():
        faults.add("idle", f"only {outcomes['200 -']} of {outcomes.total()} calls succeeded")
    return faults, outcomes, quarters
