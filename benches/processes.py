"""Processes of the benchmark: starts and stops servers and commands, and reads their CPU time and memory from /proc.

No process that is started here outlives compare.py.
"""
import http.client
import os
import re
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

START_LIMIT = 60  # seconds until a server must be ready


class Server:
    """A server process with its descendants (workers) and its log; `stop` ends all of them."""

    def __init__(self, name, folder, command, env):
        self.name, self.log, self.port, self.workers = name, folder / f"{name}.log", None, {}
        self.scheme = "http"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                                            env={**os.environ, **env}, start_new_session=True)

    def wait_ready(self):
        announced = re.compile(r"(?:^listening|Uvicorn running|^Serving HTTP) on (https?)://127\.0\.0\.1:(\d+)",
                               re.MULTILINE)
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            if line := announced.search(self.check_alive()):
                self.scheme, self.port = line[1], int(line[2])
                if self.name != "metagate" or self.request("GET", "/readyz")[0] == 200:
                    return
            time.sleep(0.05)
        fail(f"{self.name} is not ready after {START_LIMIT} s:\n{self.check_alive()[-2000:]}")

    def check_alive(self):
        text = read(self.log)
        return text if self.process.poll() is None else fail(
            f"{self.name} exited with {self.process.returncode}:\n{text[-2000:]}")

    def request(self, method, path, body=None):
        if self.scheme == "https":
            unverified = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=START_LIMIT, context=unverified)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_LIMIT)
        connection.request(method, path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.headers, response.read()

    def cpu(self):
        """Returns the CPU nanoseconds used so far by thread, of the server and of its workers."""
        self.check_alive()
        workers = descendants(self.process.pid)
        self.workers.update(workers)
        return thread_times([self.process.pid]), thread_times(workers)

    def memory_mb(self):
        status = read(Path(f"/proc/{self.process.pid}/status"))
        return [int(re.search(rf"{key}:\s+(\d+)", status)[1]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM")]

    def stop(self):
        self.workers.update(descendants(self.process.pid))
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        table = process_table()
        for pid, start in self.workers.items():
            if table.get(pid, (0, 0))[1] == start:  # otherwise the pid belongs to another process by now
                os.kill(pid, signal.SIGKILL)


def fail(text):
    sys.exit(f"{Path(sys.argv[0]).name}: {text}")


def read(file):
    try:
        return file.read_text(errors="replace")
    except OSError:  # the process or thread has ended
        return ""


def process_table():
    """Returns {pid: (parent, start time)} of every process."""
    stats = {file.parent.name: read(file).rpartition(")")[2].split() for file in Path("/proc").glob("[0-9]*/stat")}
    return {int(pid): (int(fields[1]), int(fields[19])) for pid, fields in stats.items() if fields}


def descendants(root):
    table, family = process_table(), {root}
    while more := {pid for pid, (parent, _) in table.items() if parent in family} - family:
        family |= more
    return {pid: table[pid][1] for pid in family - {root}}


def machine_times():
    """Returns the CPU seconds of all processes and those of the commands of `run`; stolen time counts as used."""
    user, nice, system, _, _, irq, softirq, steal = map(int, read(Path("/proc/stat")).split()[1:9])
    ran = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return used, ran.ru_utime + ran.ru_stime


def thread_times(pids):
    # schedstat counts nanoseconds, whereas utime and stime of /proc/PID/stat come in ticks of 10 ms.
    files = (file for pid in pids for file in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return {file: int((read(file).split() or [0])[0]) for file in files}


def run(*command, cwd=None, show=False):
    """Runs a command; returns success and output. Kills its process group if this script is interrupted."""
    if not shutil.which(command[0]):
        return False, f"{command[0]} is not a program"
    process = subprocess.Popen(command, cwd=cwd, text=True, start_new_session=True, stdin=subprocess.DEVNULL,
                               stdout=sys.stderr if show else subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output = process.communicate()[0] or ""
        return process.returncode == 0, output
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
