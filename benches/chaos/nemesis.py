"""The nemesis of a run: what it does to the gateway and its workers, in an order that follows from the seed.

It deals decks of acts, shuffled: each deck has every act at least once. The last gateway lives through most of the
calls, so that its memory can be compared: acts that end the gateway are left out once a part of the calls is made.
"""
import random
import signal
import threading
import time

from gateway import signal_worker

# The acts of a deck, with their number.
DECK = {"kill_worker": 6, "freeze_worker": 1, "leave_log_unread": 1, "fill_disk": 1, "take_descriptors": 1,
        "reload": 2, "ship_node": 2, "ship_python": 2, "trap": 1, "change_plugin": 1, "kill_gateway": 1,
        "kill_gateway_during_deploy": 1, "stop_gateway": 1}
GATEWAY_ACTS = ("kill_gateway", "kill_gateway_during_deploy", "stop_gateway")
GATEWAY_ACTS_UNTIL = 0.3  # of the calls
MEMORY_PAUSE = 0.2  # seconds between samples


class Act:
    """One act: its name, the pause before it, and a number from 0 to 1 that it uses as it likes."""

    def __init__(self, name, draw):
        self.name, self.pause, self.draw = name, draw.random(), draw.random()


def acts(seed):
    """Returns the acts of a seed, deck after deck. In the first one the gateway ends before all else."""
    draw, is_first = random.Random(f"{seed} nemesis"), True
    while True:
        names = [name for name, count in DECK.items() for _ in range(count)]
        draw.shuffle(names)
        if is_first:
            names.sort(key=lambda name: name not in GATEWAY_ACTS)
        yield [Act(name, draw) for name in names]
        is_first = False


class Nemesis:
    """Acts until all calls are made and one deck at least is dealt."""

    def __init__(self, gateway, load, seed, pause):
        self.gateway, self.load, self.pause, self.decks = gateway, load, pause, acts(seed)
        self.memory = (gateway.folder / "memory.tsv").open("w", buffering=1)
        self.dealt, self.counts = 0, dict.fromkeys(DECK, 0)

    def run(self):
        """Returns whether the gateway has lived."""
        while not self.dealt or self.load.left.value > 0:
            for act in next(self.decks):
                if self.dealt and self.load.left.value <= 0:
                    break
                is_late = self.dealt and self.load.done() > GATEWAY_ACTS_UNTIL
                if is_late and act.name in GATEWAY_ACTS:
                    continue
                if not self.wait(act.pause * 2 * self.pause):
                    return False
                try:
                    result = getattr(self, act.name)(act.draw)
                except (FileNotFoundError, ProcessLookupError):  # of a gateway that has died
                    if self.wait(1):
                        raise
                    return False
                self.counts[act.name] += 1
                self.gateway.note("act", act.name, result or "-")
            self.dealt += 1
        return self.wait(0)

    def wait(self, seconds):
        """Samples the memory meanwhile. Returns whether the gateway lives."""
        until = time.monotonic() + seconds
        while True:
            if self.gateway.has_died():
                return False
            self.memory.write(f"{time.monotonic():.3f}\t{self.gateway.process.pid}\t{self.gateway.resident()}\n")
            left = until - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(left, MEMORY_PAUSE))

    def choose_worker(self, draw):
        workers = sorted(self.gateway.workers().items())
        return workers[int(draw * len(workers))] if workers else None

    def kill_worker(self, draw):
        worker = self.choose_worker(draw)
        return "killed" if worker and signal_worker(*worker, signal.SIGKILL) else "no worker"

    def freeze_worker(self, draw):
        worker = self.choose_worker(draw)
        if not worker or not signal_worker(*worker, signal.SIGSTOP):
            return "no worker"
        self.wait(0.2 + draw * 16 * self.pause)
        return "continued" if signal_worker(*worker, signal.SIGCONT) else "replaced meanwhile"

    def leave_log_unread(self, draw):
        self.gateway.log.reads.clear()
        self.wait(0.5 + draw * 2 * self.pause)
        self.gateway.log.reads.set()

    def fill_disk(self, draw):
        undo = self.gateway.fill_disk()
        shipped = self.gateway.ship("node" if draw < 0.5 else "python")
        self.wait(draw * self.pause)
        undo()
        if not self.gateway.has_disk:  # it takes the limit for a fault of the disk, and is read-only until it restarts
            self.stop_gateway(draw)
        return shipped

    def take_descriptors(self, draw):
        undo = self.gateway.limit_descriptors(int(draw * 8))
        worker = self.choose_worker(draw)
        if worker:
            signal_worker(*worker, signal.SIGKILL)
        self.wait(0.3 + draw * 2 * self.pause)
        undo()

    def reload(self, _draw):
        return self.gateway.reload()

    def ship_node(self, _draw):
        return self.gateway.ship("node")

    def ship_python(self, _draw):
        return self.gateway.ship("python")

    def trap(self, draw):
        """Has the plugin trap at most calls for a while, until it is turned off for them."""
        self.load.burst.value = 1
        self.wait(0.5 + draw * 3 * self.pause)
        self.load.burst.value = 0

    def change_plugin(self, _draw):
        self.gateway.change_plugin()
        return self.gateway.reload()

    def kill_gateway(self, draw):
        self.gateway.kill()
        self.gateway.start(loses_log=draw < 0.5)

    def kill_gateway_during_deploy(self, draw):
        """Kills it at some moment of a deploy, which has happened afterwards or not."""
        deploy = threading.Thread(target=self.gateway.ship, args=("node" if draw < 0.5 else "python",))
        deploy.start()
        time.sleep(draw * self.pause)
        self.gateway.kill()
        deploy.join()
        self.gateway.start()

    def stop_gateway(self, draw):
        self.gateway.stop()
        self.gateway.start(loses_log=draw < 0.5)
