#!/usr/bin/env python3
"""Drives two OCI runtimes through the same scenarios, good and broken bundles, and prints where their verdicts differ.

usage: oci-compare.py [-v] [--only=REGEX] [OURS [THEIRS]]      default: bin/run as trimaran-runtime, and runc from PATH; as root, by hand

A verdict is what a caller sees: exit codes, states, what the program printed. Differences are listed and counted, not judged:
docs/runtime.md names the deliberate ones. Words of error messages are shown with -v.
"""
import copy
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

VERBOSE = "-v" in sys.argv
ONLY = next((a[7:] for a in sys.argv if a.startswith("--only=")), "")
ARGS = [a for a in sys.argv[1:] if not a.startswith("-")]
NAMESPACES = ["pid", "mount", "ipc", "uts", "network"]
APPLETS = "sh cat echo sleep id ls true false ps touch mount hostname env kill stat test grep readlink mkdir umask trap".split()

BASE = {
    "ociVersion": "1.0.2",
    "process": {
        "user": {"uid": 0, "gid": 0},
        "args": ["sleep", "1000"],
        "env": ["PATH=/usr/bin:/bin"],
        "cwd": "/",
        "capabilities": {k: ["CAP_KILL", "CAP_AUDIT_WRITE", "CAP_SYS_ADMIN"] for k in ("bounding", "effective", "permitted")},
    },
    "root": {"path": "rootfs"},
    "hostname": "ship",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    ],
    "linux": {"namespaces": [{"type": t} for t in NAMESPACES],
              "resources": {"devices": [{"allow": False, "access": "rwm"}]},
              "maskedPaths": ["/proc/kcore", "/proc/keys"], "readonlyPaths": ["/proc/sys"]},
}


def change(config, path, value):
    """Sets `a.b.c` to a value; a callable changes what is there; `DELETE` removes it."""
    *parents, last = path.split(".")
    for parent in parents:
        config = config.setdefault(parent, {})
    if value is DELETE:
        config.pop(last, None)
    elif callable(value):
        config[last] = value(config.get(last))
    else:
        config[last] = value


DELETE = object()


class Bundle:
    """A bundle of its own for a scenario and a runtime."""

    def __init__(self, runtime, template, number):
        self.runtime, self.id = runtime, f"compare-{os.getpid()}-{number}"
        self.dir = tempfile.mkdtemp(prefix="oci-compare-")
        os.chmod(self.dir, 0o755)
        shutil.copytree(template, f"{self.dir}/rootfs", symlinks=True, copy_function=os.link)
        self.root = f"{self.dir}/state"

    def write(self, changes):
        config = copy.deepcopy(BASE)
        for path, value in changes.items():
            change(config, path, value)
        with open(f"{self.dir}/config.json", "w") as file:
            json.dump(config, file)

    def call(self, *words, globals_=(), stdin=subprocess.DEVNULL, **more):
        """Exit code, stdout, stderr. Output goes through files: a container keeps the pipes open."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            line = [self.runtime, "--root", self.root, *globals_, *[self.id if w == "ID" else w for w in words]]
            try:
                code = subprocess.run(line, stdin=stdin, stdout=out, stderr=err, cwd=self.dir, timeout=20, **more).returncode
            except subprocess.TimeoutExpired:
                code = "timeout"
            out.seek(0), err.seek(0)
            return code, out.read().decode(errors="replace"), err.read().decode(errors="replace")

    def state(self):
        code, out, _ = self.call("state", "ID")
        return json.loads(out)["status"] if code == 0 else "none"

    def wait(self, status):
        end = time.monotonic() + 5
        while self.state() != status and time.monotonic() < end:
            time.sleep(0.02)
        return self.state()

    def end(self):
        self.call("delete", "--force", "ID")
        shutil.rmtree(self.dir, ignore_errors=True)


SCENARIOS = []


def scenario(name, changes=None, setup=None):
    def add(function):
        SCENARIOS.append((name, changes or {}, setup, function))
        return function
    return add


def steps(name, *commands, changes=None, setup=None):
    """A scenario of plain commands: each gives its code and the state after it."""
    def run(bundle):
        verdict, words = [], []
        for command in commands:
            if command[0] == "WAIT":
                verdict.append(bundle.wait(command[1]))
                continue
            code, out, err = bundle.call(*command)
            # What kind of number a failure is belongs to the contract only for exec and for what the program itself returned.
            verdict.append((" ".join(command[:2]), code, bundle.state()))
            words.append(err.strip())
            if command[0] in ("run", "exec") and code == 0:
                verdict.append(out)
        return verdict, words
    SCENARIOS.append((name, changes or {}, setup, run))


def runs(name, args, changes=None, setup=None):
    """A scenario of one `run` whose code and output count."""
    steps(name, ["run", "ID"], changes={"process.args": args, **(changes or {})}, setup=setup)


def sh(line):
    return ["sh", "-c", line]


def write(path, text, mode=0o644):
    def setup(bundle):
        full = os.path.join(bundle.dir, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w") as file:
            file.write(text)
        os.chmod(full, mode)
    return setup


def raw_config(text):
    return write("config.json", text)


# --- the life of a container -------------------------------------------------------------------------------------
LIFE = [["create", "ID"], ["start", "ID"], ["kill", "ID", "KILL"], ["WAIT", "stopped"], ["delete", "ID"]]
steps("life", *LIFE)
steps("create twice", ["create", "ID"], ["create", "ID"], ["delete", "ID"])
steps("start twice", ["create", "ID"], ["start", "ID"], ["start", "ID"])
steps("start without create", ["start", "ID"])
steps("start a stopped one", ["create", "ID"], ["kill", "ID", "KILL"], ["WAIT", "stopped"], ["start", "ID"])
steps("kill without create", ["kill", "ID", "KILL"])
steps("kill a created one", ["create", "ID"], ["kill", "ID", "9"], ["WAIT", "stopped"])
steps("kill a stopped one", *LIFE[:4], ["kill", "ID", "TERM"], ["kill", "ID", "KILL"])
steps("kill --all of a stopped one", *LIFE[:4], ["kill", "--all", "ID", "KILL"])
steps("kill with signal 0", ["run", "-d", "ID"], ["kill", "ID", "0"])
steps("kill with names", *[c for s in ("SIGUSR1", "usr1", "10", "SIGRTMIN+1", "rtmin", "64")
                           for c in (["run", "-d", "ID"], ["kill", "ID", s], ["delete", "-f", "ID"])],
      changes={"process.args": sh("trap '' USR1; sleep 1000")})
steps("kill with nonsense", ["run", "-d", "ID"], ["kill", "ID", "NONSENSE"], ["kill", "ID", "65"], ["kill", "ID", "-1"], ["kill", "ID", ""])
steps("delete a created one", ["create", "ID"], ["delete", "ID"])
steps("delete a running one", ["run", "-d", "ID"], ["delete", "ID"], ["delete", "-f", "ID"])
steps("delete a paused one", ["run", "-d", "ID"], ["pause", "ID"], ["delete", "ID"], ["delete", "-f", "ID"])
steps("delete without create", ["delete", "ID"], ["delete", "-f", "ID"])
steps("state without create", ["state", "ID"])
steps("pause and resume", ["run", "-d", "ID"], ["pause", "ID"], ["pause", "ID"], ["exec", "ID", "true"], ["resume", "ID"], ["resume", "ID"],
      ["exec", "ID", "true"])
steps("pause a created one", ["create", "ID"], ["pause", "ID"], ["resume", "ID"])
steps("pause a stopped one", *LIFE[:4], ["pause", "ID"], ["resume", "ID"])
steps("start while paused", ["create", "ID"], ["pause", "ID"], ["start", "ID"], ["resume", "ID"])
steps("exec in a created one", ["create", "ID"], ["exec", "ID", "echo", "x"])
steps("exec in a stopped one", *LIFE[:4], ["exec", "ID", "true"])
steps("exec codes", ["run", "-d", "ID"], ["exec", "ID", "sh", "-c", "exit 7"], ["exec", "ID", "nope"], ["exec", "ID", "/etc"], ["exec", "ID"],
      ["exec", "ID", "sh", "-c", "kill -9 $$"], ["exec", "--cwd", "/nope", "ID", "true"], ["exec", "nobody", "true"], ["exec"])
steps("exec flags", ["run", "-d", "ID"], ["exec", "-u", "1000:1000", "-g", "5", "ID", "id"], ["exec", "-e", "A=b", "ID", "sh", "-c", "echo $A"],
      ["exec", "--cwd", "/tmp", "ID", "sh", "-c", "echo $PWD"], ["exec", "--cap", "CAP_NET_ADMIN", "ID", "grep", "Cap", "/proc/self/status"],
      ["exec", "--no-new-privs", "ID", "grep", "NoNewPrivs", "/proc/self/status"], ["exec", "-u", "5x", "ID", "true"],
      ["exec", "-e", "NOVALUE", "ID", "true"], ["exec", "ID", "echo", "-t", "--", "-d"], ["exec", "-u", "1000", "ID", "id", "-u"],
      ["exec", "--process", "/nonexistent", "ID"], ["exec", "--cwd", "tmp", "ID", "true"])
steps("ps of a stopped one", *LIFE[:4], ["ps", "ID"], ["ps", "-f", "json", "ID"])
steps("events of a stopped one", *LIFE[:4], ["events", "--stats", "ID"])
steps("update of a stopped one", *LIFE[:4], ["update", "--pids-limit", "5", "ID"])
steps("run ends", ["run", "ID"], ["state", "ID"], changes={"process.args": sh("exit 3")})
steps("run is killed", ["run", "ID"], changes={"process.args": sh("sh -c 'kill -9 $$'; exit $?")})
steps("run --keep", ["run", "--keep", "ID"], ["state", "ID"], ["delete", "ID"], changes={"process.args": ["true"]})
steps("run -d and its end", ["run", "-d", "ID"], ["WAIT", "stopped"], ["run", "-d", "ID"], ["delete", "ID"], changes={"process.args": ["true"]})
for number, wrong in enumerate(["a/b", "..", ".", "a b", "", "a\u00e4", "a*", "-x", "a:b", "_a", "+a", "a" * 1025]):
    SCENARIOS.append((f"id {wrong[:10]!r}", {"process.args": ["true"]}, None,
                      lambda bundle, wrong=wrong: (["%s" % (bundle.call("run", "--", wrong)[0])], [])))

# --- command lines ------------------------------------------------------------------------------------------------
for line in (["nonsense"], ["create"], ["create", "ID", "extra"], ["state"], ["state", "a", "b"], ["kill"], ["delete"], ["start"], ["pause"], ["ps"],
             ["create", "--nonsense", "ID"], ["list", "extra"], ["list", "-f", "nonsense"], ["ps", "-f", "nonsense", "ID"], ["create", "--help"],
             ["kill", "--help"], ["list"], ["list", "-q"], ["features"], ["update", "ID"], ["events", "--interval", "0", "ID"],
             ["create", "--bundle", "/nonexistent", "ID"], ["create", "--console-socket", "/nonexistent", "ID"]):
    steps("usage " + " ".join(line), line)
SCENARIOS.append(("globals", {}, None, lambda b: ([b.call("list", globals_=g)[0] for g in (
    ["--log-format", "json"], ["--log-format=text"], ["--log-format", "nonsense"], ["--debug"], ["--rootless", "true"], ["--rootless=false"],
    ["--rootless=auto"], ["--rootless=nonsense"], ["--root", "/tmp/oci-compare-other"], ["--nonsense"], ["--log", "/nonexistent/x"])], [])))

# --- broken bundles -----------------------------------------------------------------------------------------------
steps("no config.json", ["create", "ID"], setup=lambda b: os.unlink(f"{b.dir}/config.json"))
for name, text in {"empty": "", "not JSON": "{", "an array": "[]", "empty object": "{}", "trailing": json.dumps(BASE) + "x",
                   "wrong types": '{"ociVersion": 3}'}.items():
    steps("config.json: " + name, ["create", "ID"], setup=raw_config(text))
for version in ("1.0.0", "1.0.2-dev", "1.3.0", "1.9.9", "2.0.0", "0.9.0", "", "nonsense"):
    steps(f"ociVersion {version!r}", ["create", "ID"], changes={"ociVersion": version})
for name, changes in {
        "no process": {"process": DELETE}, "no args": {"process.args": DELETE}, "empty args": {"process.args": []},
        "empty program": {"process.args": [""]}, "no cwd": {"process.cwd": DELETE}, "empty cwd": {"process.cwd": ""},
        "relative cwd": {"process.cwd": "tmp"}, "missing cwd": {"process.cwd": "/not/there"}, "cwd is a file": {"process.cwd": "/etc/passwd"},
        "no root": {"root": DELETE}, "empty root path": {"root.path": ""}, "missing root": {"root.path": "nope"},
        "root is a file": {"root.path": "config.json"}, "no linux": {"linux": DELETE}, "no namespaces": {"linux.namespaces": []},
        "no mount namespace": {"linux.namespaces": [{"type": "pid"}]},
        "double namespace": {"linux.namespaces": lambda l: l + [{"type": "pid"}]},
        "unknown namespace": {"linux.namespaces": lambda l: l + [{"type": "nonsense"}]},
        "namespace path missing": {"linux.namespaces": lambda l: l + [{"type": "cgroup", "path": "/nonexistent"}]},
        "namespace of other kind": {"linux.namespaces": lambda l: l[:-1] + [{"type": "network", "path": "/proc/self/ns/uts"}]},
        "hostname without uts": {"linux.namespaces": [{"type": t} for t in NAMESPACES if t != "uts"]},
        "user namespace without maps": {"linux.namespaces": lambda l: l + [{"type": "user"}]},
        "unknown capability": {"process.capabilities.bounding": ["CAP_NONSENSE"]},
        "unknown rlimit": {"process.rlimits": [{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]},
        "double rlimit": {"process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 9}] * 2},
        "unknown mount type": {"mounts": lambda l: l + [{"destination": "/mnt", "type": "nonsense", "source": "x"}]},
        "unknown mount option": {"mounts": lambda l: l + [{"destination": "/mnt", "type": "tmpfs", "source": "x", "options": ["nonsense"]}]},
        "bind source missing": {"mounts": lambda l: l + [{"destination": "/mnt", "type": "bind", "source": "/nope", "options": ["bind"]}]},
        "relative destination": {"mounts": lambda l: l + [{"destination": "mnt", "type": "tmpfs", "source": "x"}]},
        "double mount": {"mounts": lambda l: l + [{"destination": "/mnt", "type": "tmpfs", "source": "x"}] * 2},
        "proc not on /proc": {"mounts": lambda l: l + [{"destination": "/mnt", "type": "proc", "source": "proc"}]},
        "mount inside proc": {"mounts": lambda l: l + [{"destination": "/proc/sys", "type": "tmpfs", "source": "x"}]},
        "mount over proc": {"mounts": lambda l: l + [{"destination": "/proc", "type": "bind", "source": "/tmp", "options": ["bind"]}]},
        "sysctl of the host": {"linux.sysctl": {"kernel.panic": "1"}}, "sysctl without its namespace": {
            "linux.sysctl": {"net.ipv4.ip_forward": "1"}, "linux.namespaces": [{"type": "mount"}, {"type": "pid"}]},
        "rootfsPropagation nonsense": {"linux.rootfsPropagation": "nonsense"}, "seccomp nonsense": {"linux.seccomp": {"defaultAction": "NONSENSE"}},
        "cgroupsPath up": {"linux.cgroupsPath": "/../../x"}, "negative memory": {"linux.resources.memory": {"limit": -1}},
        "missing masked path": {"linux.maskedPaths": ["/proc/nonsense"]}, "missing readonly path": {"linux.readonlyPaths": ["/proc/nonsense"]},
        "relative masked path": {"linux.maskedPaths": ["proc/kcore"]}, "device node": {
            "linux.devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]},
        "device of unknown type": {"linux.devices": [{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]},
        "device at /": {"linux.devices": [{"path": "/", "type": "c", "major": 1, "minor": 3}]},
        "apparmor absent": {"process.apparmorProfile": "nonsense"}, "selinux absent": {"process.selinuxLabel": "nonsense"},
        "unknown fields": {"nonsense": {"x": 1}, "linux.nonsense": True, "process.nonsense": []},
        "windows section": {"windows": {"layerFolders": []}},
}.items():
    steps("broken: " + name, ["create", "ID"], ["start", "ID"], changes=changes)
for name, program in {"missing name": "nope", "missing path": "/nope", "a directory": "/etc", "not executable": "/etc/passwd"}.items():
    steps("program: " + name, ["create", "ID"], changes={"process.args": [program]})
    steps("run program: " + name, ["run", "ID"], changes={"process.args": [program]})
runs("bad interpreter", ["/run.sh"], setup=write("rootfs/run.sh", "#!/a/b/c\n", 0o755))
runs("no interpreter", ["/run.sh"], setup=write("rootfs/run.sh", "echo x\n", 0o755))

# --- terminals ----------------------------------------------------------------------------------------------------
steps("terminal without console socket", ["create", "ID"], ["run", "-d", "ID"], changes={"process.terminal": True})
steps("console socket without terminal", ["create", "--console-socket", "/tmp/none", "ID"], ["run", "-d", "--console-socket", "/tmp/none", "ID"],
      ["run", "--console-socket", "/tmp/none", "ID"])
steps("console socket missing", ["create", "--console-socket", "/tmp/none", "ID"], changes={"process.terminal": True})
runs("terminal in the foreground", sh("test -t 0 && echo yes; readlink /proc/self/fd/0"), {"process.terminal": True})


@scenario("console socket", {"process.terminal": True, "process.consoleSize": {"height": 30, "width": 90}})
def console(bundle):
    path = f"{bundle.dir}/console.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path), server.listen(), server.settimeout(10)
        code, _, err = bundle.call("create", "--console-socket", path, "ID")
        if code != 0:
            return [code], [err]
        client, _ = server.accept()
        _, fds, _, _ = socket.recv_fds(client, 4096, 1)
        size = os.get_terminal_size(fds[0])
        return [code, len(fds), os.isatty(fds[0]), tuple(size)], []


# --- what the program sees ----------------------------------------------------------------------------------------
runs("hostname", ["hostname"])
runs("environment", ["env"], {"process.env": ["PATH=/bin", "A=1", "A=2", "B="]})
runs("HOME from passwd", sh("echo $HOME"), {"process.user": {"uid": 1000, "gid": 1000}})
runs("user and groups", ["id"], {"process.user": {"uid": 1000, "gid": 1000, "additionalGids": [5, 6]}})
runs("umask", sh("umask"), {"process.user": {"uid": 0, "gid": 0, "umask": 0o27}})
runs("default umask", sh("umask"))
runs("capabilities", ["grep", "Cap", "/proc/self/status"])
runs("no capabilities", ["grep", "Cap", "/proc/self/status"], {"process.capabilities": DELETE})
runs("inheritable alone", ["grep", "Cap", "/proc/self/status"], {"process.capabilities": {"inheritable": ["CAP_KILL"]}})
runs("ambient", ["grep", "Cap", "/proc/self/status"], {"process.user": {"uid": 1000, "gid": 1000}, "process.capabilities": {
    k: ["CAP_KILL"] for k in ("bounding", "effective", "permitted", "inheritable", "ambient")}})
runs("no new privileges", ["grep", "NoNewPrivs", "/proc/self/status"], {"process.noNewPrivileges": True})
runs("read-only root", sh("touch /x && echo written"), {"root.readonly": True})
runs("mounts", sh("mount | grep -v ' / ' | sed 's/,size=[0-9a-z]*//; s/,inode64//'"))
runs("devices", sh("ls -l /dev | grep -v total | sed 's/  */ /g' | cut -d' ' -f1,3-6,9-"), setup=write("rootfs/.x", ""))
runs("masks", sh("cat /proc/kcore; ls -ld /proc/keys | cut -c1; echo x > /proc/sys/kernel/panic"))
runs("descriptors", sh("ls /proc/self/fd"))
runs("pids", sh("echo $$"))
runs("oom score", ["cat", "/proc/self/oom_score_adj"], {"process.oomScoreAdj": 500})
runs("rlimits", sh("ulimit -n; ulimit -Hn"), {"process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]})
runs("cwd is made", sh("pwd"), {"process.cwd": "/new/place"})
runs("tmpfs keeps the mode", sh("stat -c %A /tmp"), {"mounts": lambda l: l + [{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]},
     setup=lambda b: (os.makedirs(f"{b.dir}/rootfs/tmp", exist_ok=True), os.chmod(f"{b.dir}/rootfs/tmp", 0o7751)))
runs("tmpfs makes its directory", sh("stat -c %A /new"), {"mounts": lambda l: l + [{"destination": "/new", "type": "tmpfs", "source": "tmpfs"}]})
runs("double mount, last wins", sh("ls /mnt"), {"mounts": lambda l: l + [
    {"destination": "/mnt", "type": "bind", "source": "rootfs/etc", "options": ["bind"]}, {"destination": "/mnt", "type": "tmpfs", "source": "x"}]})
runs("bind a file", ["cat", "/new/file"], {"mounts": lambda l: l + [
    {"destination": "/new/file", "type": "bind", "source": "/etc/hostname", "options": ["bind", "ro"]}]})
runs("user namespace", sh("id -u; cat /proc/self/uid_map"), {"linux.namespaces": [{"type": t} for t in NAMESPACES + ["user"]], "linux.uidMappings": [
    {"containerID": 0, "hostID": 0, "size": 1000}], "linux.gidMappings": [{"containerID": 0, "hostID": 0, "size": 1000}]})
runs("host pid namespace", ["true"], {"linux.namespaces": [{"type": t} for t in NAMESPACES if t != "pid"]})
runs("sysctl", ["cat", "/proc/sys/net/ipv4/ip_forward"], {"linux.sysctl": {"net.ipv4.ip_forward": "1"}})
runs("loopback", sh("cat /sys/class/net/lo/flags"))
runs("limits", sh("cat /sys/fs/cgroup/pids/pids.max"), {"linux.resources.pids": {"limit": 50}, "mounts": lambda l: l + [
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}]})

# --- hooks --------------------------------------------------------------------------------------------------------
for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
    where = "/bin/sh"
    steps(f"hook {kind} fails", ["create", "ID"], ["start", "ID"], ["WAIT", "stopped"], ["delete", "-f", "ID"],
          changes={f"hooks.{kind}": [{"path": where, "args": ["sh", "-c", "exit 1"]}]})
    steps(f"hook {kind} missing", ["create", "ID"], ["start", "ID"], changes={f"hooks.{kind}": [{"path": "/nonexistent"}]})
    steps(f"hook {kind} relative", ["create", "ID"], ["start", "ID"], changes={f"hooks.{kind}": [{"path": "sh"}]})
    steps(f"hook {kind} works", ["create", "ID"], ["start", "ID"], changes={f"hooks.{kind}": [
        {"path": where, "args": ["sh", "-c", "cat >/dev/null"], "timeout": 5}]})
steps("hook too slow", ["create", "ID"], changes={"hooks.createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "sleep 10"], "timeout": 1}]})

# --- without a pid namespace of its own ---------------------------------------------------------------------------
SHARED = {"linux.namespaces": [{"type": t} for t in NAMESPACES if t != "pid"]}


@scenario("kill when init is gone", SHARED)
def init_gone(bundle):
    return gone(bundle, ["kill", "ID", "KILL"])


@scenario("delete when init is gone", SHARED)
def init_gone_delete(bundle):
    return gone(bundle, ["delete", "ID"])


def gone(bundle, command):
    verdict = [bundle.call("run", "-d", "ID")[0]]
    pid = json.loads(bundle.call("state", "ID")[1])["pid"]
    verdict += [bundle.call("exec", "-d", "ID", "sleep", "1000")[0] for _ in range(3)]
    listed = json.loads(bundle.call("ps", "-f", "json", "ID")[1])
    os.kill(pid, 9)
    verdict.append(bundle.wait("stopped"))
    code, _, err = bundle.call(*command)
    end = time.monotonic() + 3
    alive = [p for p in listed if os.path.exists(f"/proc/{p}")]
    while alive and time.monotonic() < end:
        time.sleep(0.05)
        alive = [p for p in alive if os.path.exists(f"/proc/{p}") and open(f"/proc/{p}/stat").read().split(") ")[1][0] != "Z"]
    for p in alive:
        os.kill(p, 9)
    return verdict + [len(listed), code, len(alive)], [err]


# --- what conformance suites look at ------------------------------------------------------------------------------
def more(*mounts):
    return {"mounts": lambda l: l + list(mounts)}


def at(destination, kind="tmpfs", source="tmpfs", *options):
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


OPTIONS = "grep ' /mnt ' /proc/self/mountinfo | sed 's/^[0-9]* [0-9]* [0-9:]* [^ ]* //; s/:[0-9]*//g; s/,inode64//; s/size=[0-9]*k//'"
LINKS = "for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done"
MODES = "stat -c '%n %F %t %T %a %u %g' /dev/*"
IDS = {"linux.uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}], "linux.gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
       "linux.namespaces": [{"type": t} for t in NAMESPACES + ["user"]]}

runs("default devices and links", sh(f"{MODES} | grep -v 'core\\|shm\\|pts '; {LINKS}"))
runs("default devices without a mount on /dev", sh(f"{MODES} | grep -v core; {LINKS}"),
     {"mounts": lambda l: [m for m in l if not m["destination"].startswith("/dev")]})
runs("default devices can be used", sh("for d in null zero full random urandom; do dd if=/dev/$d of=/dev/null bs=1 count=1 2>&1 | grep -c copied; "
                                       "echo x > /dev/$d; echo $?; done 2>&1; ls /dev/pts/ptmx"))
runs("no hostname", ["hostname"], {"hostname": DELETE, "linux.namespaces": [{"type": t} for t in NAMESPACES if t != "uts"]})
for kind in ("proc", "sysfs", "mqueue", "tmpfs", "devpts", "ramfs"):
    runs(f"mount of {kind}", sh(OPTIONS), more(at("/mnt", kind, kind)))
for options in (["ro"], ["rw", "nosuid", "nodev", "noexec"], ["noatime"], ["strictatime"], ["nodiratime"], ["relatime", "sync", "dirsync"],
                ["size=1m", "mode=700", "uid=5", "gid=6"], ["nr_inodes=10"], ["defaults"], ["ro", "rw"], ["exec", "noexec"], ["rshared"], ["slave"]):
    runs(f"tmpfs {options}", sh(OPTIONS), more(at("/mnt", "tmpfs", "x", *options)))
for options in (["bind"], ["rbind"], ["bind", "ro"], ["rbind", "ro"], ["bind", "nosuid", "nodev", "noexec"], ["bind", "noatime"], ["rbind", "rro"], ["bind", "remount", "ro"],
                *(["rbind", p] for p in ("shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"))):
    runs(f"bind {options}", sh(OPTIONS), more(at("/mnt", "bind", "/usr/share", *options)))
runs("bind by option alone", sh(OPTIONS), more({"destination": "/mnt", "source": "/usr/share", "options": ["rbind", "ro"]}))
runs("bind by type alone", sh(OPTIONS), more({"destination": "/mnt", "type": "bind", "source": "/usr/share"}))
runs("bind with type none", sh(OPTIONS), more(at("/mnt", "none", "/usr/share", "bind")))
runs("bind of a relative source", ["cat", "/mnt/passwd"], more(at("/mnt", "bind", "rootfs/etc", "bind")))
runs("mount through a link of the image", sh("mount | grep -c ' /tmp '"), more(at("/link")),
     setup=lambda b: os.symlink("/tmp", f"{b.dir}/rootfs/link"))
runs("mount through a link that leads out", sh("ls -d /tmp/away"), more(at("/link/away")), setup=lambda b: os.symlink("../../tmp", f"{b.dir}/rootfs/link"))
runs("mount on a dangling link", sh("ls -d /gone"), more(at("/link")), setup=lambda b: os.symlink("/gone", f"{b.dir}/rootfs/link"))
runs("mount with dots", sh(OPTIONS), more(at("/tmp/../mnt/.")))
runs("mounts in order", sh("ls /mnt /mnt/a"), more(at("/mnt"), at("/mnt/a"), at("/mnt/a/b", "bind", "/etc/hostname", "bind")))
runs("bind a directory on a file", ["true"], more(at("/etc/passwd", "bind", "/usr/share", "bind")))
runs("bind a file on a directory", ["true"], more(at("/tmp", "bind", "/etc/hostname", "bind")))
runs("mount on the root", ["ls", "/"], more(at("/")))
runs("tmpcopyup", sh("cat /etc/group; stat -c %a /etc"), more(at("/etc", "tmpfs", "tmpfs", "tmpcopyup")))
runs("read-only cgroups", sh("ls /sys/fs/cgroup | sort; mkdir /sys/fs/cgroup/pids/x; cat /sys/fs/cgroup/pids/cgroup.procs"), more(at("/sys/fs/cgroup", "cgroup", "cgroup", "ro")))
runs("cgroup namespace", sh("sed 's/^[0-9]*://' /proc/self/cgroup | sort"), {"linux.namespaces": lambda l: l + [{"type": "cgroup"}]})
for value in ("shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable", ""):
    runs(f"rootfsPropagation {value!r}", sh("grep ' / / \\| /rootfs / ' /proc/self/mountinfo | grep -o 'shared\\|master\\|unbindable\\|propagate_from' | sort; echo $?"),
         {"linux.rootfsPropagation": value})
runs("every rlimit", ["cat", "/proc/self/limits"], {"process.rlimits": [{"type": f"RLIMIT_{n}", "soft": 64 << i, "hard": 128 << i} for i, n in enumerate(
    "CORE CPU MSGQUEUE LOCKS SIGPENDING RTTIME NOFILE NPROC FSIZE STACK DATA MEMLOCK RSS AS".split(), 10) if n not in ("NOFILE",)]
    + [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}, {"type": "RLIMIT_NICE", "soft": 5, "hard": 5}, {"type": "RLIMIT_RTPRIO", "soft": 5, "hard": 5}]})
runs("rlimit soft above hard", ["true"], {"process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 50}]})
runs("rlimit of all ones", sh("grep core /proc/self/limits"), {"process.rlimits": [{"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1}]})
for score in (-1000, 0, 1000, 1001):
    runs(f"oomScoreAdj {score}", ["cat", "/proc/self/oom_score_adj"], {"process.oomScoreAdj": score})
runs("user without passwd entry", sh("id; echo $HOME; pwd"), {"process.user": {"uid": 4242, "gid": 4243, "additionalGids": [0, 1, 4243]}})
runs("working directory of another user", sh("pwd"), {"process.user": {"uid": 1000, "gid": 1000}, "process.cwd": "/closed"},
     setup=lambda b: os.mkdir(f"{b.dir}/rootfs/closed", 0o700))
runs("program relative to the working directory", ["./busybox", "echo", "x"], {"process.cwd": "/bin"})
runs("no PATH", ["echo", "x"], {"process.env": []})
runs("an empty environment", ["/bin/busybox", "env"], {"process.env": []})
runs("environment without =", ["/bin/busybox", "env"], {"process.env": ["NOTHING", "=x", "A=b=c"]})
runs("a program in another directory of PATH", ["sh", "-c", "echo $0"], {"process.env": ["PATH=/nope:/bin"]})
runs("arguments with all kinds of bytes", ["echo", "", "a b", "\n", "\u00e9", "-n", "--"])
runs("all capabilities of a user", sh("grep Cap /proc/self/status"), {"process.user": {"uid": 1000, "gid": 1000}})
runs("no capability at all", sh("grep Cap /proc/self/status"), {"process.capabilities": {}})
runs("effective beyond permitted", sh("grep Cap /proc/self/status"), {"process.capabilities": {"effective": ["CAP_KILL"], "bounding": ["CAP_KILL"]}})
runs("ambient without inheritable", sh("grep Cap /proc/self/status"), {"process.capabilities": {k: ["CAP_KILL"] for k in ("bounding", "permitted", "effective", "ambient")}})
runs("read-only root and a mount", sh("touch /x; touch /mnt/x && echo ok; touch /dev/x && echo dev"), {"root.readonly": True, **more(at("/mnt"))},
     setup=lambda b: os.mkdir(f"{b.dir}/rootfs/mnt"))
runs("read-only root without the place of a mount", sh("ls -d /mnt/new"), {"root.readonly": True, **more(at("/mnt/new"))})
for name, path in {"with dot": "./rootfs", "with slash": "rootfs/", "up and down": "rootfs/../rootfs", "through a link": "link"}.items():
    runs("root path " + name, ["hostname"], {"root.path": path}, setup=lambda b: os.symlink("rootfs", f"{b.dir}/link"))
for t in NAMESPACES + ["cgroup", "time"]:
    runs(f"own or the host's {t} namespace", sh(f"test $(readlink /proc/self/ns/{t[:3].replace('mou', 'mnt').replace('cgr', 'cgroup').replace('tim', 'time')}) = "
                                                f"{os.readlink('/proc/self/ns/' + {'network': 'net', 'mount': 'mnt'}.get(t, t))}; echo $?"),
         {"hostname": DELETE, "linux.namespaces": [{"type": n} for n in NAMESPACES if n != t] if t != "mount" else [{"type": n} for n in NAMESPACES]})


def joined(kind, name):
    """A container that joins a namespace of another process."""
    def run(bundle):
        other = subprocess.Popen(["unshare", {"network": "-n", "ipc": "-i", "uts": "-u", "mount": "-m", "cgroup": "-C", "pid": "-fp", "user": "-Ur"}[kind], "sleep", "100"])
        try:
            time.sleep(0.3)
            pid = other.pid
            if kind == "pid":
                pid = int(open(f"/proc/{pid}/task/{pid}/children").read().split()[0])
            config = json.load(open(f"{bundle.dir}/config.json"))
            config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != kind] + [{"type": kind, "path": f"/proc/{pid}/ns/{name}"}]
            config["process"]["args"] = ["readlink", f"/proc/self/ns/{name}"]
            json.dump(config, open(f"{bundle.dir}/config.json", "w"))
            code, out, err = bundle.call("run", "ID")
            return [code, out.strip() == os.readlink(f"/proc/{pid}/ns/{name}")], [err]
        finally:
            other.kill(), other.wait()
            if kind == "pid":
                try:
                    os.kill(pid, 9)
                except OSError:
                    pass
    SCENARIOS.append((f"join a {kind} namespace", {"hostname": DELETE}, None, run))


for kind, name in {"network": "net", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup", "pid": "pid"}.items():
    joined(kind, name)
NODES = [{"path": "/dev/c", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6}, {"path": "/dev/b", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600},
         {"path": "/dev/p", "type": "p", "fileMode": 0o622}, {"path": "/dev/u", "type": "u", "major": 1, "minor": 5}, {"path": "/dev/deep/er", "type": "c", "major": 1, "minor": 7},
         {"path": "/tmp/elsewhere", "type": "c", "major": 1, "minor": 8}]
runs("devices of all types", sh("stat -c '%n %F %t %T %a %u %g' /dev/c /dev/b /dev/p /dev/u /dev/deep/er /tmp/elsewhere"), {"linux.devices": NODES})
runs("a default device again", sh("stat -c '%n %t %T %a' /dev/null"), {"linux.devices": [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}]})
runs("device rules", sh("for d in c er; do cat /dev/$d > /dev/null; echo $?; echo > /dev/$d; echo $?; done 2>&1"), {
    "linux.devices": [{"path": "/dev/c", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}, {"path": "/dev/er", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}],
    "linux.resources.devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"}]})
runs("devices in a user namespace", sh(f"{LINKS}; echo x > /dev/null; echo $?"), IDS)
runs("a user namespace with other numbers", sh("id; cat /proc/self/uid_map /proc/self/gid_map; stat -c %u /etc /proc/self"), IDS)
runs("masked directory and file", sh("ls /etc; cat /tmp/f; ls /proc/scsi"), {"linux.maskedPaths": ["/etc", "/tmp/f", "/proc/scsi"]}, setup=write("rootfs/tmp/f", "secret"))
runs("masked through a link", sh("cat /tmp/real"), {"linux.maskedPaths": ["/tmp/link"]},
     setup=lambda b: (write("rootfs/tmp/real", "secret")(b), os.symlink("real", f"{b.dir}/rootfs/tmp/link")))
runs("read-only directory, file and tmpfs", sh("for f in /etc/x /tmp/f /dev/shm/x; do echo y > $f; echo $?; done"), {"linux.readonlyPaths": ["/etc", "/tmp/f", "/dev/shm"]},
     setup=write("rootfs/tmp/f", "x"))
for name, profile in {"errno": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]},
                      "errnoRet": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]},
                      "kill": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL"}]},
                      "kill process": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]},
                      "trap": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_TRAP"}]},
                      "log": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_LOG"}]},
                      "unknown names": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["nonsense", "mkdir"], "action": "SCMP_ACT_ERRNO"}]},
                      "arguments": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": [
                          {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 0o700, "op": "SCMP_CMP_EQ"}]}]},
                      "default errno": {"defaultAction": "SCMP_ACT_ERRNO"}, "no names": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]},
                      "flags": {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}, "other architecture": {
                          "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_AARCH64"], "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]},
                      "only listener": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nonexistent", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}}.items():
    runs("seccomp " + name, sh("mkdir /tmp/a; echo $?; mkdir -m 700 /tmp/b; echo $?"), {"linux.seccomp": profile, "process.noNewPrivileges": False})
runs("seccomp with no new privileges", sh("mkdir /tmp/a; echo $?; grep Seccomp: /proc/self/status"), {
    "linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}, "process.noNewPrivileges": True})
for name in ("kernel.shmmax", "kernel/msgmax", "fs.mqueue.msg_max", "net.core.somaxconn", "kernel.domainname", "kernel.hostname", "kernel.panic", "vm.swappiness", "kernel.nonsense", "net.nonsense", ""):
    runs(f"sysctl {name!r}", ["cat", "/proc/sys/" + name.replace(".", "/")] if name else ["true"], {"linux.sysctl": {name: "900"}})
runs("sysctl of a network namespace that is the host's", ["true"], {"linux.sysctl": {"net.ipv4.ip_forward": "1"}, "linux.namespaces": [{"type": t} for t in NAMESPACES if t != "network"]})


def grouped(name, path, resources, *files):
    """What the hierarchies hold while the container lives, and what is left after it."""
    def run(bundle):
        code, _, err = bundle.call("create", "ID")
        verdict = [code]
        if code == 0:
            pid = json.loads(bundle.call("state", "ID")[1])["pid"]
            places = dict((c, p) for _, names, p in (l.strip().split(":", 2) for l in open(f"/proc/{pid}/cgroup")) for c in names.split(","))
            verdict.append(sorted((c, p) for c, p in places.items() if c in ("cpu", "pids", "blkio")))  # the others where they are needed
            for file in files:
                full = f"/sys/fs/cgroup/{file.split('.')[0]}{places.get(file.split('.')[0], '')}/{file}"
                verdict.append([file, open(full).read().strip() if os.path.exists(full) else "absent"])
            verdict.append(bundle.call("delete", "--force", "ID")[0])
            verdict.append(sum(os.path.exists(f"/sys/fs/cgroup/{c}{p}") for c, p in places.items() if p != "/" and c))
        return verdict, [err]
    SCENARIOS.append((f"cgroup {name}", {"linux.cgroupsPath": DELETE if path is None else path, "linux.resources": resources}, None, run))


grouped("default path", None, {})
grouped("absolute path", "/compare-place/of/it", {})
grouped("relative path", "compare-place/of", {})
grouped("empty path", "", {})
grouped("cpu", "/compare-cpu", {"cpu": {"shares": 512, "quota": 20000, "period": 50000, "cpus": "0", "mems": "0"}}, "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us",
        "cpuset.cpus", "cpuset.mems")
grouped("cpu burst and idle", "/compare-cpu", {"cpu": {"quota": 20000, "period": 50000, "burst": 10000, "idle": 1}}, "cpu.cfs_burst_us", "cpu.idle")
grouped("cpu nonsense", "/compare-cpu", {"cpu": {"cpus": "9999"}})
grouped("cpu quota -1", "/compare-cpu", {"cpu": {"quota": -1}}, "cpu.cfs_quota_us")
grouped("cpu shares beyond", "/compare-cpu", {"cpu": {"shares": 1}}, "cpu.shares")
grouped("memory", "/compare-memory", {"memory": {"limit": 50 << 20, "reservation": 20 << 20, "swap": 60 << 20, "swappiness": 50, "disableOOMKiller": False}},
        "memory.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness", "memory.oom_control")
grouped("memory oom off", "/compare-memory", {"memory": {"limit": 50 << 20, "disableOOMKiller": True}}, "memory.oom_control")
grouped("memory kernel", "/compare-memory", {"memory": {"kernel": 50 << 20, "kernelTCP": 50 << 20}}, "memory.kmem.limit_in_bytes", "memory.kmem.tcp.limit_in_bytes")
grouped("memory swap below limit", "/compare-memory", {"memory": {"limit": 50 << 20, "swap": 40 << 20}})
grouped("pids", "/compare-pids", {"pids": {"limit": 7}}, "pids.max")
grouped("pids 0", "/compare-pids", {"pids": {"limit": 0}}, "pids.max")
grouped("pids -1", "/compare-pids", {"pids": {"limit": -1}}, "pids.max")
grouped("blkio", "/compare-blkio", {"blockIO": {"weight": 500, "throttleReadBpsDevice": [{"major": 254, "minor": 0, "rate": 1 << 20}],
        "throttleWriteIOPSDevice": [{"major": 254, "minor": 0, "rate": 100}]}}, "blkio.weight", "blkio.bfq.weight", "blkio.throttle.read_bps_device", "blkio.throttle.write_iops_device")
grouped("hugetlb", "/compare-huge", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}, "hugetlb.2MB.limit_in_bytes")
grouped("hugetlb of no size", "/compare-huge", {"hugepageLimits": [{"pageSize": "3MB", "limit": 4 << 20}]})
grouped("network", "/compare-net", {"network": {"classID": 1048577, "priorities": [{"name": "lo", "priority": 5}]}}, "net_cls.classid", "net_prio.ifpriomap")
grouped("devices", "/compare-devices", {"devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        {"allow": True, "type": "b", "major": 8, "access": "r"}, {"allow": False, "type": "b", "major": 8, "minor": 1, "access": "m"}]}, "devices.list")
grouped("devices all allowed", "/compare-devices", {"devices": [{"allow": True, "access": "rwm"}]}, "devices.list")
grouped("no devices section", "/compare-devices", {}, "devices.list")


@scenario("hooks in order, with their states")
def order(bundle):
    config = json.load(open(f"{bundle.dir}/config.json"))
    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    config["hooks"] = {k: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {k}{i} $A $(pwd | sed s,.*/,,) $(cat) >> {bundle.dir}/order"], "env": ["A=b", "PATH=/usr/bin:/bin"]}
                           for i in (1, 2)] for k in kinds}
    config["annotations"] = {"x.y": "z"}
    config["process"]["args"] = sh("cat /tmp/order; sleep 1000")
    config["hooks"]["startContainer"] = [{"path": "/bin/sh", "args": ["sh", "-c", "echo startContainer $(hostname) $(cat) >> /tmp/order"], "env": ["PATH=/bin"]}]
    json.dump(config, open(f"{bundle.dir}/config.json", "w"))
    verdict, words = [], []
    for verb in (["create", "ID"], ["start", "ID"], ["kill", "ID", "KILL"], None, ["delete", "ID"]):
        verdict.append(bundle.wait("stopped") if verb is None else bundle.call(*verb)[0])
    for path in (f"{bundle.dir}/order", f"{bundle.dir}/rootfs/tmp/order"):
        for line in open(path) if os.path.exists(path) else ():
            head, _, tail = line.partition("{")
            state = json.loads("{" + tail) if tail else {}
            # poststart is deliberately elsewhere in time; its state follows from that
            verdict.append(None if head.startswith("poststart") else
                           [head, sorted(state), state.get("status"), state.get("annotations"), state.get("id") == bundle.id, state.get("bundle") == bundle.dir, state.get("pid", 0) > 0])
    return verdict, words


@scenario("fields of the state", {"annotations": {"a.b": "c"}})
def fields(bundle):
    verdict = []
    for verb in (["create", "ID"], ["start", "ID"], ["kill", "ID", "KILL"], None):
        verdict.append(bundle.wait("stopped") if verb is None else bundle.call(*verb)[0])
        state = json.loads(bundle.call("state", "ID")[1])
        listed = json.loads(bundle.call("list", "-f", "json")[1])
        for s in (state, *listed):
            verdict.append([sorted(s), s["id"] == bundle.id, s["pid"] > 0, s["bundle"] == bundle.dir, s["rootfs"] == bundle.dir + "/rootfs", s.get("annotations"), s["owner"]])
        if verb and verb[0] == "kill":
            verdict[-len(listed) - 1:] = []  # a moment in which either state may be seen
    return verdict, []


@scenario("pid file")
def pidfile(bundle):
    code = bundle.call("create", "--pid-file", "relative.pid", "ID")[0]
    text = open(f"{bundle.dir}/relative.pid").read()
    return [code, text == str(json.loads(bundle.call("state", "ID")[1])["pid"]), oct(os.stat(f"{bundle.dir}/relative.pid").st_mode)], []


steps("pid file that cannot be", ["create", "--pid-file", "/nonexistent/x", "ID"], ["run", "-d", "--pid-file", "/nonexistent/x", "ID"])
for signal in ("TERM", "HUP", "INT", "USR1", "USR2", "WINCH", "KILL", "15"):
    @scenario(f"signal {signal} arrives", {"process.args": sh("for s in TERM HUP INT USR1 USR2 WINCH; do trap \"echo $s > /tmp/got; exit\" $s; done; touch /tmp/ready; while true; do sleep 0.1; done")})
    def arrives(bundle, signal=signal):
        verdict = [bundle.call("run", "-d", "ID")[0]]
        end = time.monotonic() + 5
        while not os.path.exists(f"{bundle.dir}/rootfs/tmp/ready") and time.monotonic() < end:
            time.sleep(0.02)
        verdict += [bundle.call("kill", "ID", signal)[0], bundle.wait("stopped")]
        path = f"{bundle.dir}/rootfs/tmp/got"
        return verdict + [open(path).read() if os.path.exists(path) else None], []


@scenario("nothing is left of a failed create", {"process.args": ["nope"], "linux.cgroupsPath": "/compare-failed/x"})
def failed(bundle):
    mounts, code = len(open("/proc/self/mountinfo").readlines()), bundle.call("create", "ID")[0]
    left = [c for c in os.listdir("/sys/fs/cgroup") if os.path.exists(f"/sys/fs/cgroup/{c}/compare-failed/x")]
    return [code, left, os.listdir(bundle.root), len(open("/proc/self/mountinfo").readlines()) - mounts], []


# --- an ordinary user with ids of its own -------------------------------------------------------------------------
USER = "trimaran-sub"


def rootless(name, changes, *commands):
    """A scenario of commands that an ordinary user gives."""
    def run(bundle):
        entry = pwd.getpwnam(USER)
        first = [int(l.split(":")[1]) for f in ("/etc/subuid", "/etc/subgid") for l in open(f) if l.startswith(USER + ":")]
        config = json.load(open(f"{bundle.dir}/config.json"))
        config["linux"].update({key: [{"containerID": 0, "hostID": own, "size": 1}, {"containerID": 1, "hostID": sub, "size": 60000}]
                                for key, own, sub in (("uidMappings", entry.pw_uid, first[0]), ("gidMappings", entry.pw_gid, first[1]))})
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"].pop("resources", None)
        for path, value in changes.items():
            change(config, path, value)
        json.dump(config, open(f"{bundle.dir}/config.json", "w"))
        for place in (bundle.dir, f"{bundle.dir}/rootfs", f"{bundle.dir}/rootfs/tmp", f"{bundle.dir}/rootfs/etc"):
            os.chown(place, entry.pw_uid, entry.pw_gid)
        more = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "env": {"PATH": os.environ["PATH"], "HOME": entry.pw_dir}}
        verdict, words = [], []
        for command in commands:
            code, out, err = bundle.call(*command, **more)
            verdict.append([command[0], code, out if command[0] in ("run", "exec") else None, bundle.state()])
            words.append(err.strip())
        return verdict, words
    SCENARIOS.append(("rootless " + name, {}, None, run))


rootless("ids", {"process.args": sh("id; cat /proc/self/uid_map; stat -c %u /etc /bin /proc/self")}, ["run", "ID"])
rootless("life", {}, ["create", "ID"], ["start", "ID"], ["exec", "ID", "id"], ["exec", "-u", "5:5", "ID", "id"], ["ps", "ID"], ["kill", "ID", "KILL"], ["delete", "-f", "ID"])
rootless("another user", {"process.args": ["id"], "process.user": {"uid": 5, "gid": 6, "additionalGids": [7]}}, ["run", "ID"])
rootless("devices and links", {"process.args": sh(f"{LINKS}; {MODES} | grep -v core; echo x > /dev/null; echo $?")}, ["run", "ID"])
rootless("masks and read-only root", {"root.readonly": True, "process.args": sh("touch /x; cat /proc/keys; echo 1 > /proc/sys/kernel/panic")}, ["run", "ID"])
rootless("host network and its sysfs", {"linux.namespaces": lambda l: [n for n in l if n["type"] != "network"],
                                        "mounts": lambda l: [m if m["type"] != "sysfs" else at("/sys", "bind", "/sys", "rbind", "ro", "nosuid", "noexec", "nodev") for m in l],
                                        "process.args": sh("ls /sys | sort; touch /sys/x")}, ["run", "ID"])
rootless("fresh sysfs over the host network", {"linux.namespaces": lambda l: [n for n in l if n["type"] != "network"]}, ["create", "ID"])
rootless("limits", {"linux.resources": {"memory": {"limit": 50 << 20}, "pids": {"limit": 5}}}, ["create", "ID"])
rootless("limits and a path", {"linux.cgroupsPath": "/compare-rootless", "linux.resources": {"pids": {"limit": 5}}}, ["create", "ID"])
rootless("pause", {}, ["run", "-d", "ID"], ["pause", "ID"], ["resume", "ID"])
rootless("ids that are not the user's", {"linux.uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}, ["create", "ID"])
rootless("no user namespace", {"linux.namespaces": lambda l: [n for n in l if n["type"] != "user"]}, ["create", "ID"])
rootless("a device", {"linux.devices": [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]}, ["create", "ID"])
rootless("a negative oom score", {"process.oomScoreAdj": -500}, ["create", "ID"])
rootless("a raised rlimit", {"process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 2 << 22, "hard": 2 << 22}]}, ["create", "ID"])
rootless("missing program", {"process.args": ["nope"]}, ["create", "ID"], ["run", "ID"])
rootless("terminal", {"process.terminal": True, "process.args": sh("test -t 0 && echo yes")}, ["run", "ID"])


def template():
    place = tempfile.mkdtemp(prefix="oci-compare-rootfs-")
    os.chmod(place, 0o755)
    for d in ("bin", "etc", "tmp", "proc", "dev", "sys"):
        os.makedirs(f"{place}/{d}")
    shutil.copy("/bin/busybox", f"{place}/bin/busybox")
    for applet in APPLETS + ["sed", "cut", "test", "ulimit", "pwd", "dd", "sort", "sed"]:
        if not os.path.lexists(f"{place}/bin/{applet}"):
            os.symlink("busybox", f"{place}/bin/{applet}")
    for name, text in {"passwd": "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n", "group": "root:x:0:\n"}.items():
        with open(f"{place}/etc/{name}", "w") as file:
            file.write(text)
    return place


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    links = tempfile.mkdtemp(prefix="oci-compare-bin-")
    ours = f"{links}/trimaran-runtime"
    shutil.copy(ARGS[0] if ARGS else f"{here}/bin/run", ours)  # not a link: an ordinary user calls it too
    os.chmod(links, 0o755)
    theirs = ARGS[1] if len(ARGS) > 1 else "runc"
    root, differ = template(), 0
    scenarios = [s for s in SCENARIOS if re.search(ONLY, s[0])]
    for number, (name, changes, setup, function) in enumerate(scenarios):
        results = []
        for runtime in (ours, theirs):
            bundle = Bundle(runtime, root, number)
            try:
                bundle.write(changes)
                if setup:
                    setup(bundle)
                results.append(function(bundle))
            except Exception as error:  # a scenario that cannot be judged is a difference, not the end
                results.append(([repr(error)], []))
            finally:
                bundle.end()
        (one, our_words), (two, their_words) = [(json.loads(json.dumps(v)), w) for v, w in results]
        same = one == two
        differ += not same
        if not same or VERBOSE:
            print(f"{'same  ' if same else 'DIFFER'} {name}")
            for who, verdict, words in (("ours", one, our_words), (theirs, two, their_words)):
                if not same:
                    print(f"    {who:6} {verdict}")
                for word in filter(None, words):
                    print(f"    {who:6} says {word[:300]}")
    shutil.rmtree(root), shutil.rmtree(links)
    print(f"{len(scenarios)} scenarios, {differ} differ")


if __name__ == "__main__":
    main()
