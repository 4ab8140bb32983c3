#!/usr/bin/env python3
"""Drives two OCI runtimes through the same scenarios, good and broken bundles, and prints where their verdicts differ.

usage: oci-compare.py [OURS [THEIRS]]      default: bin/run as trimaran-runtime, and runc from PATH; as root, by hand

A verdict is what a caller sees: exit codes, states, what the program printed. Differences are listed and counted, not judged:
docs/runtime.md names the deliberate ones. Words of error messages are shown with -v.
"""
import copy
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

VERBOSE = "-v" in sys.argv
ARGS = [a for a in sys.argv[1:] if a != "-v"]
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


def template():
    place = tempfile.mkdtemp(prefix="oci-compare-rootfs-")
    for d in ("bin", "etc", "tmp", "proc", "dev", "sys"):
        os.makedirs(f"{place}/{d}")
    shutil.copy("/bin/busybox", f"{place}/bin/busybox")
    for applet in APPLETS + ["sed", "cut", "test", "ulimit", "pwd"]:
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
    os.symlink(os.path.abspath(ARGS[0]) if ARGS else f"{here}/bin/run", ours)
    theirs = ARGS[1] if len(ARGS) > 1 else "runc"
    root, differ = template(), 0
    for number, (name, changes, setup, function) in enumerate(SCENARIOS):
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
    print(f"{len(SCENARIOS)} scenarios, {differ} differ")


if __name__ == "__main__":
    main()
