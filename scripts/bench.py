#!/usr/bin/env python3
"""`make bench`: measures the tools beside the peers that are installed, and writes docs/benchmarks.md.

Every figure is a ratio from one run on one machine: the variants of a case take turns (A B C, A B C, ...), after a warm-up
round that is not counted, and what is printed is the median of each and the median of the ratios round by round. Stores and
images live on a loop-mounted ext4 of their own, every round of a pull in a new directory: an ext4 that has just deleted
many files creates new ones up to twenty times slower, which would charge one variant for another's clean-up.

Needs root (a private mount namespace, the loop mount) and Debian's packages: see scripts/setup.sh.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(TOP, "bin")
SCRATCH_BYTES = 24 << 30  # sparse: a round of a pull or a copy to a layout keeps what it made


def enter_private_namespace():
    """Re-executes in a mount namespace of its own: the scratch mount, and crun's view of the cgroups, stay in here."""
    if os.environ.get("TRIMARAN_BENCH_INSIDE") != "1":
        os.environ["TRIMARAN_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv])


def sh(command, **options):
    """Runs a preparation step; its output is shown only if it fails."""
    done = subprocess.run(command, shell=isinstance(command, str), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


class Sample:
    """One finished run of one command: wall and CPU seconds of the whole tree that it waited for."""

    def __init__(self, argv, environment):
        self.argv = argv
        null = os.open(os.devnull, os.O_RDWR)
        log = tempfile.TemporaryFile()
        before = time.monotonic()
        pid = os.posix_spawnp(argv[0], argv, environment, file_actions=[
            (os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, log.fileno(), 1), (os.POSIX_SPAWN_DUP2, log.fileno(), 2)])
        _, status, usage = os.wait4(pid, 0)
        self.wall = time.monotonic() - before
        self.cpu = usage.ru_utime + usage.ru_stime
        os.close(null)
        if os.waitstatus_to_exitcode(status) != 0:
            log.seek(0)
            raise RuntimeError(f"{' '.join(argv)}: exit {os.waitstatus_to_exitcode(status)}\n"
                               + log.read().decode(errors="replace")[-2000:])


def peak_memory(argv, environment):
    """MiB of the largest process of one run. Asked of time(1): a child of this program would count Python's own pages, which
    it shares until its execve."""
    with tempfile.NamedTemporaryFile("r") as answer:
        sh(["/usr/bin/time", "-f", "%M", "-o", answer.name, *argv], env=environment)
        return int(answer.read().split()[-1]) / 1024


class Variant:
    """One program's way of doing a case. `make` is called before each round, untimed, and gives the command to time."""

    def __init__(self, label, make, environment=None):
        self.label, self.make, self.environment = label, make, {**os.environ, **(environment or {})}
        self.samples, self.memory, self.broken = [], None, None


def measure(title, variants, rounds, pause=0.0):
    """Lets the variants take turns, the first turn to warm up and to measure memory; a variant that fails is reported and left out, never silently dropped."""
    print(f"{title} ...", file=sys.stderr, flush=True)
    for turn in range(rounds + 1):
        for variant in variants:
            if variant.broken:
                continue
            try:
                argv = variant.make(turn)
                time.sleep(pause)
                if turn:
                    variant.samples.append(Sample(argv, variant.environment))
                else:
                    variant.memory = peak_memory(argv, variant.environment)
            except (RuntimeError, OSError) as problem:
                variant.broken = str(problem).strip().splitlines()
                print(f"  {variant.label}: {problem}", file=sys.stderr)
    return title, variants, rounds


def table(result):
    """One case as a Markdown table: the first variant is ours, the others' ratios say ours divided by theirs."""
    title, variants, rounds = result
    lines = [f"### {title}", "", f"{rounds} counted rounds.", "",
             "| | wall ms, median (min–max) | CPU ms | peak RSS MiB | wall: ours ÷ theirs | CPU | RSS |",
             "|---|---|---|---|---|---|---|"]
    ours = variants[0]
    for variant in variants:
        if variant.broken:
            lines.append(f"| {variant.label} | did not run: {variant.broken[-1][:160]} | | | | | |")
            continue

        def median(key, of=variant):
            return statistics.median(getattr(s, key) for s in of.samples)

        walls = [s.wall * 1000 for s in variant.samples]
        row = [variant.label, f"{median('wall') * 1000:.1f} ({min(walls):.1f}–{max(walls):.1f})",
               f"{median('cpu') * 1000:.1f}", f"{variant.memory:.1f}"]
        if variant is ours or ours.broken:
            row += ["", "", ""]
        else:
            for key in ("wall", "cpu"):
                ratios = [getattr(a, key) / getattr(b, key) for a, b in zip(ours.samples, variant.samples) if getattr(b, key) > 0]
                row.append(f"**{statistics.median(ratios):.2f}**" if ratios else "–")
            row.append(f"**{ours.memory / variant.memory:.2f}**")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


class Registry:
    """Debian's docker-registry on a free loopback port, with its files on the scratch file system."""

    def __init__(self, directory):
        os.makedirs(directory)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = os.path.join(directory, "config.yml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
                       f"storage: {{filesystem: {{rootdirectory: {directory}/data}}, delete: {{enabled: true}}}}\n"
                       f"http: {{addr: '127.0.0.1:{self.port}'}}\n")
        self.process = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("docker-registry did not come up")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Bench:
    def __init__(self, scratch, quick):
        self.scratch = scratch
        self.quick = quick
        self.root = f"{scratch}/store"
        self.results = []
        self.notes = []

    def rounds(self, full):
        return max(3, full // 5) if self.quick else full

    def build(self, *words):
        return sh([f"{BIN}/build", "--root", self.root, *words])

    def make_images(self):
        """A busybox image for starts, and a real Debian root file system in three gzip layers for transfers."""
        bare = f"{self.scratch}/busybox-root"
        os.makedirs(f"{bare}/bin")
        shutil.copy("/bin/busybox", f"{bare}/bin/busybox")
        for applet in ("sh", "true", "cat", "echo", "mkdir", "touch"):
            os.symlink("busybox", f"{bare}/bin/{applet}")
        for name in ("dev", "proc", "sys", "etc", "tmp", "usr"):
            os.makedirs(f"{bare}/{name}")
        with open(f"{bare}/etc/passwd", "w", encoding="utf-8") as file:
            file.write("root:x:0:0:root:/root:/bin/sh\n")
        self.bare = bare
        container = self.build("from", "scratch")
        self.build("copy", container, f"{bare}/", "/")
        self.build("config", "--cmd", "true", container)
        self.build("commit", "--compress", "gzip", container, "localhost/busybox:bench")
        self.build("rm", container)

        tar = f"{self.scratch}/debian.tar"
        sh(["mmdebstrap", "--variant=minbase", "--quiet", "bookworm", tar])
        container = self.build("from", "scratch")
        self.build("add", container, tar, "/")
        self.build("config", "--cmd", "/bin/sh", container)
        self.build("commit", "--compress", "gzip", container, "localhost/debian:one")
        self.build("rm", container)
        container = self.build("from", "localhost/debian:one")
        self.build("run", container, "--", "sh", "-c", "cp -a /usr/lib /opt/lib; dd if=/dev/urandom of=/opt/noise bs=1M count=60 2>/dev/null")
        self.build("commit", "--compress", "gzip", container, "localhost/debian:two")
        self.build("rm", container)
        container = self.build("from", "localhost/debian:two")
        self.build("run", container, "--", "sh", "-c", "cp -a /usr/share /opt/share; rm -rf /opt/lib/locale")
        self.build("commit", "--compress", "gzip", container, "localhost/debian:bench")
        self.build("rm", container)

    def start_registries(self):
        self.here = Registry(f"{self.scratch}/registry-a")
        self.there = Registry(f"{self.scratch}/registry-b")
        for name in ("busybox", "debian"):
            sh([f"{BIN}/copy", "--root", self.root, "--dest-tls-verify=false", f"store:localhost/{name}:bench",
                f"docker://127.0.0.1:{self.here.port}/{name}:bench"])

    def podman(self, *words, store=None):
        store = store or f"{self.scratch}/podman"
        return ["podman", "--root", f"{store}/root", "--runroot", f"{store}/run", "--cgroup-manager", "cgroupfs",
                "--events-backend", "none", "--tmpdir", f"{store}/tmp", *words]

    def starts(self):
        sh(self.podman("pull", "--tls-verify=false", f"127.0.0.1:{self.here.port}/busybox:bench"))
        bundle = f"{self.scratch}/bundle"
        os.makedirs(bundle)
        sh(["crun", "spec"], cwd=bundle)
        with open(f"{bundle}/config.json", encoding="utf-8") as file:
            spec = json.load(file)
        spec["process"]["terminal"] = False
        spec["process"]["args"] = ["/bin/true"]
        spec["root"] = {"path": self.bare, "readonly": False}
        with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump(spec, file)
        ours = [f"{BIN}/run", "--root", self.root, "--network", "none", "localhost/busybox:bench", "true"]
        image = f"127.0.0.1:{self.here.port}/busybox:bench"
        # podman asks for more than this process may have, where CAP_SYS_RESOURCE is missing, and fails.
        limits = []
        for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
            hard = min(1024, resource.getrlimit(number)[1])
            limits += ["--ulimit", f"{name}={hard}:{hard}"]

        def variants():
            return [
                Variant("`run --network none IMAGE true`", lambda turn: ours),
                Variant("`podman run --rm --network none IMAGE true`",
                        lambda turn: self.podman("run", "--rm", "--network", "none", *limits, image, "true")),
                Variant("`crun run` of a bundle", lambda turn: ["crun", "run", "-b", bundle, f"bench-{os.getpid()}-{turn}"]),
                Variant("`bwrap` with all namespaces",
                        lambda turn: ["bwrap", "--unshare-all", "--bind", self.bare, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true"]),
            ]

        self.results.append(measure("Start of `true`, one every 60 ms", variants(), self.rounds(25), pause=0.06))
        self.results.append(measure("Start of `true`, back to back", variants(), self.rounds(25)))
        state = f"{self.scratch}/oci-state"
        runtimes = [("`trimaran-runtime`", [f"{BIN}/trimaran-runtime", "--root", state]), ("`crun`", ["crun"]), ("`runc`", ["runc"])]

        def start(argv):
            return lambda turn: [*argv, "run", "-b", bundle, f"bench-{os.getpid()}-{turn}"]

        for title, pause in (("one every 60 ms", 0.06), ("back to back", 0.0)):
            self.results.append(measure(f"`run` of an OCI bundle (create, start, wait, delete), {title}",
                                        [Variant(label, start(argv)) for label, argv in runtimes], self.rounds(25), pause=pause))
        self.lives(runtimes, spec)
        self.many_at_once(runtimes, bundle)

    def lives(self, runtimes, spec):
        """What is done to a container that runs, and its end. Each runtime has one that lives through all rounds."""
        bundle = f"{self.scratch}/bundle-sleep"
        os.makedirs(bundle)
        with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump({**spec, "process": {**spec["process"], "args": ["/bin/busybox", "sleep", "1000"]}}, file)

        def begin(argv, name):
            # Not into a pipe: the container keeps what it was given.
            with tempfile.TemporaryFile() as log:
                done = subprocess.run([*argv, "run", "-d", "-b", bundle, name], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
                if done.returncode:
                    log.seek(0)
                    raise RuntimeError(f"{argv[0]}: exit {done.returncode}: {log.read().decode(errors='replace')[-500:]}")

        name, started = f"bench-{os.getpid()}-lives", []
        for _, argv in runtimes:
            try:
                begin(argv, name)
                started.append(argv)
            except RuntimeError as problem:
                print(f"  {argv[0]}: {problem}", file=sys.stderr)
        for verb, words, rounds in (("`exec` of `true`", ["exec", name, "/bin/true"], 25), ("`state`", ["state", name], 25)):
            self.results.append(measure(f"{verb} in a container", [
                Variant(label, lambda turn, argv=argv, words=words: [argv[0], *argv[1:], words[0], *words[1:]]) for label, argv in runtimes
            ], self.rounds(rounds)))
        for argv in started:
            sh([*argv, "delete", "--force", name])

        def ended(argv):
            def make(turn):
                begin(argv, f"{name}-{turn}")
                tool = " ".join(argv)
                return ["sh", "-ec", f"{tool} kill {name}-{turn} KILL; {tool} delete --force {name}-{turn}"]
            return make

        self.results.append(measure("`kill` and `delete --force` of a running container", [Variant(label, ended(argv)) for label, argv in runtimes],
                                    self.rounds(15)))

    def many_at_once(self, runtimes, bundle):
        """Throughput must not fall when several are started side by side."""
        for number in (1, 4, 16):
            def make(argv, number=number):
                tool = " ".join(argv)
                return lambda turn: ["sh", "-ec", "".join(
                    f"{tool} run -b {bundle} bench-{os.getpid()}-{turn}-{one} & " for one in range(number)) + "wait"]
            self.results.append(measure(f"{number} containers of `true` side by side", [Variant(label, make(argv)) for label, argv in runtimes],
                                        self.rounds(7)))

    def pulls(self):
        image = f"127.0.0.1:{self.here.port}/debian:bench"

        def fresh(name):
            def directory(turn):
                path = f"{self.scratch}/pull/{name}-{turn}"
                os.makedirs(path)
                return path
            return directory

        ours, podman, umoci = fresh("trimaran"), fresh("podman"), fresh("umoci")

        def skopeo_umoci(turn):
            path = umoci(turn)
            return ["sh", "-ec", f"skopeo copy -q --src-tls-verify=false docker://{image} oci:{path}/layout:bench; "
                                 f"umoci raw unpack --image {path}/layout:bench {path}/rootfs >/dev/null"]

        self.results.append(measure("Pull and unpack, from a registry on loopback", [
            Variant("`run pull`", lambda turn: [f"{BIN}/run", "pull", "--root", ours(turn), "--tls-verify=false", "-q", f"docker://{image}"]),
            Variant("`podman pull`", lambda turn: self.podman("pull", "-q", "--tls-verify=false", image, store=podman(turn))),
            Variant("`skopeo copy` + `umoci raw unpack`", skopeo_umoci),
        ], self.rounds(5)))

    def copies(self):
        image = f"127.0.0.1:{self.here.port}/debian:bench"
        home = f"{self.scratch}/home"
        os.makedirs(home)

        def target(tool, turn):
            return f"docker://127.0.0.1:{self.there.port}/{tool}-{turn}/debian:bench"

        # A registry stores a blob once: fresh registries a round would measure their start; deleting nothing, each round
        # and tool gets a repository of its own, in which no blob is linked yet, so all bytes are sent every time.
        self.results.append(measure("Copy from registry to registry, on loopback", [
            Variant("`copy`", lambda turn: [f"{BIN}/copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false",
                                           f"docker://{image}", target("trimaran", turn)]),
            # A HOME of its own hides skopeo's record of which registry has which blob: its copies would become mounts.
            Variant("`skopeo copy`", lambda turn: ["sh", "-ec", f"rm -rf {home}/* /var/lib/containers/cache/blob-info-cache-v1.*; "
                    f"exec skopeo copy -q --src-tls-verify=false --dest-tls-verify=false docker://{image} {target('skopeo', turn)}"],
                    {"HOME": home}),
            Variant("the floor: `curl` GET into PUT, blob after blob", lambda turn: ["sh", "-ec", self.by_curl(image, turn)]),
        ], self.rounds(7)))
        self.small_layers(home)
        self.unchanged(home)

        def layout(name):
            return lambda turn: f"oci:{self.scratch}/layouts/{name}-{turn}:bench"

        os.makedirs(f"{self.scratch}/layouts")
        ours, skopeo = layout("trimaran"), layout("skopeo")
        self.results.append(measure("Copy from a registry to an OCI layout", [
            Variant("`copy`", lambda turn: [f"{BIN}/copy", "-q", "--src-tls-verify=false", f"docker://{image}", ours(turn)]),
            Variant("`skopeo copy`", lambda turn: ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{image}", skopeo(turn)]),
        ], self.rounds(7)))

    def by_curl(self, image, turn):
        """A script that copies an image with nothing but curl: what the two servers and the pipe between them cost."""
        host, repository = image.split("/", 1)
        repository, tag = repository.split(":")
        types = "application/vnd.oci.image.manifest.v1+json"
        source, target = f"http://{host}/v2/{repository}", f"http://127.0.0.1:{self.there.port}/v2/curl-{turn}/{repository}"
        if not hasattr(self, "floor"):
            raw = sh(["curl", "-sf", "-H", f"Accept: {types}", f"{source}/manifests/{tag}"])
            manifest = json.loads(raw)
            self.floor = [blob["digest"] for blob in [manifest["config"], *manifest["layers"]]]
        lines = [f"for d in {' '.join(self.floor)}; do",
                 f"  at=$(curl -sf -o /dev/null -D - -X POST '{target}/blobs/uploads/' | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')",
                 f"  curl -sf {source}/blobs/$d | curl -sf -o /dev/null -H 'Content-Type: application/octet-stream' -X PUT -T - \"$at&digest=$d\"",
                 "done",
                 f"curl -sf -H 'Accept: {types}' {source}/manifests/{tag} | "
                 f"curl -sf -o /dev/null -X PUT -H 'Content-Type: {types}' --data-binary @- {target}/manifests/{tag}"]
        return "\n".join(lines)

    def small_layers(self, home):
        """Sixty layers of a few kB: what counts is requests, not bytes."""
        layout = f"{self.scratch}/many"
        os.makedirs(f"{layout}/blobs/sha256")

        def blob(data, media_type):
            digest = hashlib.sha256(data).hexdigest()
            with open(f"{layout}/blobs/sha256/{digest}", "wb") as file:
                file.write(data)
            return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

        layers, diffs = [], []
        for number in range(60):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as archive:
                entry = tarfile.TarInfo(f"file-{number}")
                content = os.urandom(20_000)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            diffs.append(f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}")
            layers.append(blob(gzip.compress(buffer.getvalue(), mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip"))
        config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}}
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"), "layers": layers}
        entry = blob(json.dumps(manifest).encode(), manifest["mediaType"])
        entry["annotations"] = {"org.opencontainers.image.ref.name": "many"}
        with open(f"{layout}/index.json", "w", encoding="utf-8") as file:
            json.dump({"schemaVersion": 2, "manifests": [entry]}, file)
        with open(f"{layout}/oci-layout", "w", encoding="utf-8") as file:
            file.write('{"imageLayoutVersion":"1.0.0"}')
        image = f"docker://127.0.0.1:{self.here.port}/many:bench"
        sh([f"{BIN}/copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:many", image])
        plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]

        def to(tool, turn):
            return f"docker://127.0.0.1:{self.there.port}/{tool}-{turn}/many:bench"

        hide = f"rm -rf {home}/* /var/lib/containers/cache/blob-info-cache-v1.*"
        self.results.append(measure("Copy of 60 small layers from registry to registry", [
            Variant("`copy`", lambda turn: [f"{BIN}/copy", "-q", *plain, image, to("trimaran", turn)]),
            Variant("`skopeo copy`", lambda turn: ["sh", "-ec", f"{hide}; exec skopeo copy -q {' '.join(plain)} {image} {to('skopeo', turn)}"],
                    {"HOME": home}),
        ], self.rounds(7)))

        def beside(tool, turn):
            return f"docker://127.0.0.1:{self.here.port}/{tool}-{turn}/many:bench"

        self.results.append(measure("Copy of 60 small layers to another repository of the same registry", [
            Variant("`copy` (mounts)", lambda turn: [f"{BIN}/copy", "-q", *plain, image, beside("trimaran", turn)]),
            Variant("`skopeo copy`, its blob cache warm (mounts)", lambda turn: ["skopeo", "copy", "-q", *plain, image, beside("skopeo", turn)]),
        ], self.rounds(7)))

    def unchanged(self, home):
        """Two hundred tags that are at the destination already, and one image that is."""
        image = f"127.0.0.1:{self.here.port}/busybox"
        tags = [f"t{number}" for number in range(200)]
        sh([f"{BIN}/copy", "tag", "--tls-verify=false", f"docker://{image}:bench", *tags])
        plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        there = f"127.0.0.1:{self.there.port}"
        self.results.append(measure("Sync of 200 tags, nothing new", [
            Variant("`copy sync`", lambda turn: [f"{BIN}/copy", "sync", "-q", *plain, "--src", "docker", "--dest", "docker", image, f"{there}/trimaran"]),
            Variant("`skopeo sync`", lambda turn: ["skopeo", "sync", *plain, "--src", "docker", "--dest", "docker", image, f"{there}/skopeo"],
                    {"HOME": home}),
        ], self.rounds(5)))
        self.results.append(measure("Copy of an image that is there already", [
            Variant("`copy`", lambda turn: [f"{BIN}/copy", "-q", *plain, f"docker://{image}:t0", f"docker://{there}/trimaran/busybox:t0"]),
            Variant("`skopeo copy`", lambda turn: ["skopeo", "copy", "-q", *plain, f"docker://{image}:t0", f"docker://{there}/skopeo/busybox:t0"],
                    {"HOME": home}),
        ], self.rounds(15)))

    def builds(self):
        store = f"{self.scratch}/buildah"
        flags = f"--root {store}/root --runroot {store}/run"
        image = f"127.0.0.1:{self.here.port}/busybox:bench"
        sh(f"buildah {flags} pull -q --tls-verify=false docker://{image}")
        file = f"{self.scratch}/hello.txt"
        with open(file, "w", encoding="utf-8") as out:
            out.write("hello\n")
        ours = (f"set -e; b='{BIN}/build --root {self.root}'; c=$($b from localhost/busybox:bench); $b run $c -- mkdir /data; "
                f"$b copy $c {file} /data/; $b config --env A=b $c; $b commit $c localhost/hello:bench; $b rm $c")
        theirs = (f"set -e; b='buildah {flags}'; c=$($b from --pull-never {image}); $b run --network host $c -- mkdir /data; "
                  f"$b copy $c {file} /data/; $b config --env A=b $c; $b commit -q $c localhost/hello:bench; $b rm $c")
        self.results.append(measure("Scripted build: from, run, copy, config, commit, rm", [
            Variant("`build`", lambda turn: ["sh", "-c", ours]),
            Variant("`buildah`", lambda turn: ["sh", "-c", theirs], {"BUILDAH_ISOLATION": "oci"}),
        ], self.rounds(10)))

    def page(self):
        def version(*argv):
            try:
                text = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
                return text.strip().splitlines()[0]
            except (OSError, IndexError):
                return "not installed"

        peers = [version("podman", "--version"), version("crun", "--version"), version("runc", "--version"), version("bwrap", "--version"),
                 version("skopeo", "--version"), version("umoci", "--version"), version("buildah", "--version")]
        sizes = ", ".join(f"`{t}` {os.path.getsize(os.path.join(BIN, t)) / (1 << 20):.1f} MiB" for t in ("build", "run", "copy"))
        with open("/proc/meminfo", encoding="utf-8") as file:
            memory = int(file.readline().split()[1]) >> 20
        head = f"""# Benchmarks

Written by `make bench` ({time.strftime('%Y-%m-%d')}). Read the ratios: absolute times differ from machine to machine and from hour to hour.

**Method.** The variants of a case take turns, after one round that is not counted; a row shows medians, the ratios are the
median of the ratios round by round (ours divided by theirs: below 1 is faster or smaller). Wall time and CPU are those of the whole process
tree that the command waits for; memory is that of its largest process, from the warm-up round. Stores lie on a loop-mounted ext4 with a journal; each round of a
pull gets a new directory, each round of a registry copy a new repository. `crun` and `podman` run in a mount namespace without the
unified cgroup hierarchy, because crun refuses machines that mount both.

**Machine.** {os.cpu_count()} processors ({platform.machine()}), {memory} GiB of memory, Linux {platform.release().split('-')[0]}, as root.
**Peers.** {'; '.join(peers)}.
**Sizes of our binaries.** {sizes}.

"""
        notes = "".join(f"- {n}\n" for n in self.notes)
        return head + "\n".join(table(r) for r in self.results) + (f"\n{notes}" if notes else "")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="a fifth of the rounds, and nothing is written")
    arguments.add_argument("--only", action="append", choices=["starts", "pulls", "copies", "builds"], help="measure only this part, and write nothing")
    options = arguments.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for the scratch file system and the peers' stores")
    enter_private_namespace()
    subprocess.run(["umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL, check=False)
    base = tempfile.mkdtemp(prefix="tb-", dir="/var/tmp")
    scratch = f"{base}/s"  # podman refuses a run directory of more than 50 characters
    os.makedirs(scratch)
    bench = Bench(scratch, options.quick)
    try:
        with open(f"{base}/disk", "wb") as disk:
            disk.truncate(SCRATCH_BYTES)
        sh(["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", f"{base}/disk"])
        sh(["mount", "-o", "loop", f"{base}/disk", scratch])
        bench.make_images()
        bench.start_registries()
        for part in options.only or ["starts", "pulls", "copies", "builds"]:
            getattr(bench, part)()
        page = bench.page()
        print(page)
        if not options.quick and not options.only:
            os.makedirs(f"{TOP}/docs", exist_ok=True)
            with open(f"{TOP}/docs/benchmarks.md", "w", encoding="utf-8") as file:
                file.write(page)
    finally:
        for registry in ("here", "there"):
            if hasattr(bench, registry):
                getattr(bench, registry).stop()
        subprocess.run(["umount", "-R", "-l", scratch], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
