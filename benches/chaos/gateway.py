"""The gateway of a run: its folder and configuration, its starts and ends, and changes of releases by the admin API.

The data folder is a small disk of its own where a mount is allowed. Functions write each nonce that they run to a file
outside it.
"""
import fcntl
import http.client
import io
import json
import os
import re
import resource
import socket
import subprocess
import threading
import time
import zipfile
from pathlib import Path

from history import Event

from processes import fail, process_table, read

HERE = Path(__file__).resolve().parent
DISK = 48  # MiB
START_LIMIT = 60  # seconds until a gateway listens or has ended
ANSWER_LIMIT = 90  # seconds until a change of a release is answered; a load has 30 s
TOKEN = "chaos-chaos-chaos-chaos-chaos-chaos"
SMALLEST_PIPE = 4096

# Each worker starts a process that would outlive it, and notes what it runs before it answers.
NODE = """const fs = require('fs'), { spawn } = require('child_process');
const release = Number(process.env.RELEASE || @RELEASE@);
const runs = fs.openSync(`@RUNS@/${process.pid}-${Date.now()}`, 'a');
spawn('sleep', ['86400'], { detached: true, stdio: 'ignore' }).unref();
const run = (nonce, padding) => {
  fs.writeSync(runs, nonce + '\\n');
  if (nonce.endsWith('7')) console.log('ran', nonce, padding.length);
  return { nonce, release };
};
exports.quick = run;
exports.slow = async (nonce, padding) => {
  const result = run(nonce, padding);
  await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 200));
  return result;
};
exports.stream = async function* (nonce, count) {
  const { release } = run(nonce, '');
  for (let number = 0; number !== count; number += 1) {
    yield { nonce, release, number, padding: number % 10 === 9 ? 'y'.repeat(3000) : '' };
    if (count < 0 || number % 20 === 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
  }
};
"""
PYTHON = """import os, random, subprocess, time
release = int(os.environ.get('RELEASE', @RELEASE@))
runs = os.open(f'@RUNS@/{os.getpid()}-{time.time_ns()}', os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
subprocess.Popen(['sleep', '86400'], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                 stderr=subprocess.DEVNULL)
def quick(nonce, padding):
    os.write(runs, f'{nonce}\\n'.encode())
    if nonce.endswith('7'):
        print('ran', nonce, len(padding))
    return {'nonce': nonce, 'release': release}
def slow(nonce, padding):
    result = quick(nonce, padding)
    time.sleep(0.02 + random.random() * 0.2)
    return result
def stream(nonce, count):
    result, number = quick(nonce, ''), 0
    while number != count:
        yield {**result, 'number': number, 'padding': 'y' * 3000 if number % 10 == 9 else ''}
        if count < 0 or number % 20 == 0:
            time.sleep(random.random() * 0.02)
        number += 1
"""
SOURCES = {"node": ("index.js", NODE), "python": ("main.py", PYTHON)}


def source(language, runs, release):
    file, text = SOURCES[language]
    return file, text.replace("@RUNS@", str(runs)).replace("@RELEASE@", str(release))


class Gateway:
    """The gateway, of which one process runs after another."""

    def __init__(self, metagate, folder):
        self.metagate, self.folder, self.process, self.pids = metagate, folder, None, []
        self.data, self.runs, self.plugin = folder / "data", folder / "runs", folder / "plugin.wasm"
        self.releases = dict.fromkeys(["shipped-node", "shipped-python"], 0) | {"folders": 1}
        self.plugin_changes = 0
        self.events = (folder / "events.tsv").open("w", buffering=1)
        self.lock = threading.Lock()
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.port = unused.getsockname()[1]
        for part in (self.data, self.runs):
            part.mkdir()
        self.has_disk = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "chaos", self.data],
                                       stderr=subprocess.DEVNULL).returncode == 0
        self.change_plugin()
        for language in SOURCES:
            path = folder / f"folder-{language}"
            path.mkdir()
            file, text = source(language, self.runs, 0)
            (path / file).write_text(text)
        self.configure()
        self.log = Log(folder / "gateway.log")

    def close(self):
        """Kills what runs and gives the disk back."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.has_disk:
            subprocess.run(["umount", "--lazy", self.data], check=False)

    def note(self, kind, *about):
        with self.lock:
            self.events.write(Event(time.monotonic(), kind, about).line())

    def deployments(self):
        return [f"{kind}-{language}" for kind in ("folder", "shipped") for language in SOURCES]

    def configure(self):
        """Writes the configuration with the present release of the configured folders."""
        limits = ('workers = { min = 2, max = 3 }\nconcurrency = 16\ntimeout = "5s"\nload_timeout = "30s"\n'
                  f"write = [{json.dumps(str(self.runs))}]\n")
        text = (f'[server]\nlisten = "127.0.0.1:{self.port}"\nprefix = "chaos"\ndata_dir = "data"\ndrain = "2s"\n'
                f'[admin]\ntoken = "{TOKEN}"\n[deploy]\n{limits}'
                '[[plugin]]\nname = "trap"\npath = "plugin.wasm"\ndeployments = ["folder-*"]\n')
        for language in SOURCES:
            text += (f'[[deployment]]\nname = "folder-{language}"\npath = "folder-{language}"\n{limits}'
                     f'env = {{ RELEASE = "{self.releases["folders"]}" }}\n')
        put(self.folder / "metagate.toml", text.encode())

    def change_plugin(self):
        """Replaces the plugin's file by one with other bytes that does the same: a custom section at its end."""
        self.plugin_changes += 1
        note = str(self.plugin_changes).encode()
        section = bytes([len(b"note") + 1 + len(note), len(b"note")]) + b"note" + note
        put(self.plugin, (HERE / "trap.wasm").read_bytes() + b"\0" + section)

    def start(self, loses_log=False):
        """Starts a process and waits until it listens. Its log goes to a small pipe, or to a full device."""
        with open("/dev/full", "wb") if loses_log else os.fdopen(os.dup(self.log.write_end), "wb") as stderr:
            self.process = subprocess.Popen([self.metagate, "serve", self.folder / "metagate.toml"], text=True,
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                                            restore_signals=self.has_disk)  # SIGXFSZ stays ignored
        late = threading.Timer(START_LIMIT, self.process.kill)
        late.start()
        line = self.process.stdout.readline()
        late.cancel()
        line.startswith("listening on ") or fail(f"the gateway does not start: {line!r}\n{self.log.tail()}")
        self.pids.append(self.process.pid)
        self.note("listening", self.process.pid)

    def kill(self):
        self.note("killed", self.process.pid)
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Stops the process in order."""
        self.process.terminate()
        try:
            code = self.process.wait(START_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.note("ended", self.process.pid, code)

    def has_died(self):
        if self.process.poll() is None:
            return False
        self.note("died", self.process.pid, self.process.returncode)
        return True

    def request(self, method, path, body=b"", kind="application/json"):
        """Returns status and code; status 0 if no answer comes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_LIMIT)
        try:
            connection.request(method, path, body, {"content-type": kind, "authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.headers.get("x-metagate-error", "-")
        except TimeoutError:
            return 0, "unanswered"
        except (OSError, http.client.HTTPException):
            return 0, "lost"
        finally:
            connection.close()

    def change(self, names, release, change):
        """Makes a release and notes what becomes of it."""
        for name in names:
            self.note("begun", name, release)
        status, code = change()
        outcome = "acknowledged" if status == 200 else "refused" if status else code
        for name in names:
            self.note(outcome, name, release, *([f"{status} {code}"] if status else []))
        return f"{status} {code}"

    def ship(self, language):
        """Uploads and deploys the next release of a language."""
        name = f"shipped-{language}"
        self.releases[name] += 1
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr(*source(language, self.runs, self.releases[name]))
        boundary = "chaos-chaos"
        fields = {"id": name, "type": "application/x-zip-compressed", "jsons": "[]", "runners": "[]"}
        parts = [f'--{boundary}\r\ncontent-disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
                 for field, value in fields.items()]
        head = (f'--{boundary}\r\ncontent-disposition: form-data; name="raw"; filename="{name}.zip"\r\n'
                "content-type: application/x-zip-compressed\r\n\r\n")
        body = ("".join(parts) + head).encode() + package.getvalue() + f"\r\n--{boundary}--\r\n".encode()
        create = json.dumps({"suffix": name, "resourceType": "Package", "release": "1", "env": [],
                             "plan": "Essential", "version": "v1"})

        def change():
            uploaded = self.request("POST", "/api/package/create?replace=true", body,
                                    f"multipart/form-data; boundary={boundary}")
            return self.request("POST", "/api/deploy/create", create) if uploaded[0] == 201 else uploaded

        return self.change([name], self.releases[name], change)

    def reload(self):
        """Gives the configured folders a new release, by their environment."""
        self.releases["folders"] += 1
        self.configure()
        names = [f"folder-{language}" for language in SOURCES]
        return self.change(names, self.releases["folders"], lambda: self.request("POST", "/api/reload"))

    def workers(self):
        """Returns the workers' processes: {process id: start}."""
        table = process_table()
        return {pid: start for pid, (parent, start) in table.items() if parent == self.process.pid}

    def resident(self):
        size = re.search(r"VmRSS:\s+(\d+)", read(Path(f"/proc/{self.process.pid}/status")))
        return int(size[1]) * 1024 if size else 0

    def limit_descriptors(self, more):
        """Leaves the gateway only a few more descriptors than it has. Returns what undoes it."""
        pid, (soft, hard) = self.process.pid, resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        open_now = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + more, hard))
        return lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))

    def fill_disk(self):
        """Fills the disk of the data folder, or has the gateway write no more where it has no disk of its own. Returns
        what undoes it."""
        if not self.has_disk:
            pid, limits = self.process.pid, resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, limits[1]))
            return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        ballast = self.data / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
            except OSError:
                pass
        return ballast.unlink

    def leftovers(self):
        """Returns the living processes that bear the mark of a gateway of this run, as (process id, command)."""
        marks = {f"METAGATE_WORKER=metagate-{pid}-".encode() for pid in self.pids}
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
                if any(variable.startswith(tuple(marks)) for variable in variables):
                    found.append((folder.name, read(folder / "cmdline").replace("\0", " ").strip()))
            except OSError:
                continue
        return [(pid, command) for pid, command in found if state(pid) not in "ZX"]


class Log:
    """The gateway's standard error: the smallest pipe there is, and a thread that reads it unless it is held."""

    def __init__(self, file):
        self.file, self.reads = file, threading.Event()
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
        self.reads.set()
        threading.Thread(target=self.copy, daemon=True).start()

    def copy(self):
        with self.file.open("wb", buffering=0) as file:
            while data := os.read(self.read_end, 65_536):
                self.reads.wait()
                file.write(data)

    def tail(self):
        return read(self.file)[-3000:]


def state(pid):
    return read(Path(f"/proc/{pid}/stat")).rpartition(") ")[2][:1] or "X"


def signal_worker(pid, start, number):
    """Signals a worker unless its process id belongs to another process by now. Returns whether it did."""
    if process_table().get(pid, (0, 0))[1] != start:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def put(path, data):
    """Puts a file in the place of another in one step, as deploy tools do."""
    staged = path.with_suffix(".new")
    staged.write_bytes(data)
    staged.rename(path)
