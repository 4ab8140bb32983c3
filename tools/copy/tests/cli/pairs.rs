//! Archives, directories and engines: what other tools wrote, what other tools make of ours, pipes, and engines that refuse.

use crate::tool::{Home, PROGRAM, assert_layout_holds};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use trimaran_testkit::image::{Blob, noise, sha256};
use trimaran_testkit::{
    Content, ImageMaker, Index, Layout, Packing, Registry, Tree, command, is_root, run, skip,
};

fn index() -> Index {
    Index::new(vec![
        ImageMaker::sample().make(),
        ImageMaker::sample().platform("linux", "s390x", None).make(),
    ])
}

/// An image whose layers are plain tar files: what archives of docker keep as they are in every tool.
fn plain() -> trimaran_testkit::Image {
    let tree = |text: &str| Tree::new().file(text, 0o644, text).tar();
    ImageMaker::new()
        .tar_layer(&tree("one"), Packing::Plain)
        .tar_layer(&tree("two"), Packing::Plain)
        .docker()
        .make()
}

/// Whether a program of another project is installed.
fn has(program: &str) -> bool {
    let version = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// Runs another tool, which finds our policy in its home.
#[track_caller]
fn foreign(home: &Home, program: &str, arguments: &[&str]) -> String {
    let mut foreign = command(program, &home.path(""));
    foreign
        .args(arguments)
        .env("XDG_RUNTIME_DIR", home.path("run"));
    foreign.env("TMPDIR", home.path(""));
    run(&mut foreign).expect_code(0).stdout
}

/// Runs the tool with files or pipes as its standard streams.
fn piped(home: &Home, arguments: &[&str], stdin: Stdio, stdout: Stdio) -> Output {
    let mut child = home
        .command(arguments)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        errors.read_to_end(&mut text).unwrap();
        text
    });
    let output = child.wait_with_output().unwrap();
    Output {
        stderr: errors.join().unwrap(),
        ..output
    }
}

#[test]
fn archives_go_through_pipes_and_files_on_the_standard_streams() {
    let home = Home::new();
    for (form, content) in [
        ("oci-archive", &index() as &dyn Content),
        ("docker-archive", &ImageMaker::sample().docker().make()),
    ] {
        let from = home.made(&format!("{form}-made"), "v", content);
        let stream = format!("{form}:-");
        let archive = home.path(&format!("{form}.tar"));
        let digests = home.path("digest");
        let file = File::create(&archive).unwrap();
        let arguments = ["--digestfile", digests.to_str().unwrap(), &from, &stream];
        let written = piped(&home, &arguments, Stdio::null(), file.into());
        let errors = String::from_utf8_lossy(&written.stderr).into_owned();
        assert!(written.status.success(), "{errors}");
        assert!(
            errors.contains(content.digest()),
            "the result is told on stderr: {errors}"
        );
        let told = std::fs::read_to_string(&digests).unwrap();
        assert_eq!(told.trim_end(), content.digest());

        // The same bytes through a pipe.
        let through = piped(
            &home,
            &["-q", &from, &stream],
            Stdio::null(),
            Stdio::piped(),
        );
        assert!(through.status.success() && through.stderr.is_empty());
        assert!(
            through.stdout == std::fs::read(&archive).unwrap(),
            "{form}: another archive"
        );

        let to = home.layout(&format!("{form}-file"), "v");
        let read = piped(
            &home,
            &[&stream, &to],
            File::open(&archive).unwrap().into(),
            Stdio::piped(),
        );
        assert_eq!(
            String::from_utf8_lossy(&read.stdout).trim_end(),
            content.digest()
        );
        assert_layout_holds(
            &Layout::open(&home.path(&format!("{form}-file"))),
            "v",
            content,
        );

        let mut writing = Command::new("cat")
            .arg(&archive)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = home.layout(&format!("{form}-pipe"), "v");
        let pipe = writing.stdout.take().unwrap();
        let read = piped(&home, &[&stream, &to], pipe.into(), Stdio::piped());
        assert!(writing.wait().unwrap().success());
        assert_eq!(
            String::from_utf8_lossy(&read.stdout).trim_end(),
            content.digest()
        );
        assert_layout_holds(
            &Layout::open(&home.path(&format!("{form}-pipe"))),
            "v",
            content,
        );
    }
}

#[test]
fn an_archive_is_not_written_to_a_terminal() {
    if !has("script") {
        return skip("needs script, of bsdutils");
    }
    let home = Home::new();
    let from = home.made("made", "v", &ImageMaker::sample().make());
    let mut terminal = command("script", &home.path(""));
    terminal.args([
        "-qec",
        &format!("{PROGRAM} {from} oci-archive:-"),
        "/dev/null",
    ]);
    let refused = run(&mut terminal).expect_code(125);
    assert!(refused.stdout.contains("terminal"), "{}", refused.stdout);
}

#[test]
fn a_reader_that_went_away_is_told() {
    let home = Home::new();
    let image = ImageMaker::new()
        .tar_layer(&noise(4 << 20), Packing::Plain)
        .make();
    let from = home.made("made", "v", &image);
    let mut child = home
        .command(&[&from, "oci-archive:-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(125));
    let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(errors.contains("stdout"), "{errors}");
}

#[test]
fn what_skopeo_writes_we_read_and_the_other_way_round() {
    if !has("skopeo") {
        return skip("needs skopeo");
    }
    let home = Home::new();
    let (single, docker, many) = (ImageMaker::sample().make(), plain(), index());
    let path = |name: &str| home.path(name).display().to_string();
    for (name, content) in [
        ("single", &single as &dyn Content),
        ("docker", &docker),
        ("many", &many),
    ] {
        let from = home.made(&format!("{name}-made"), "v", content);
        // In a layout, skopeo converts what is Docker's,
        // and does not see it in a layout.
        let forms: &[&str] = match name {
            "docker" => &["dir"],
            _ => &["dir", "oci-archive"],
        };
        let seen = format!("dir:{}", path(&format!("{name}-seen")));
        home.copy(&[], &from, &seen);
        for form in forms {
            let theirs = format!("{form}:{}", path(&format!("{name}-{form}-theirs")));
            foreign(
                &home,
                "skopeo",
                &["copy", "-q", "--all", "--preserve-digests", &seen, &theirs],
            );
            let to = home.layout(&format!("{name}-{form}-read"), "v");
            assert_eq!(
                home.copy(&[], &theirs, &to),
                content.digest(),
                "{name} {form}"
            );
        }
        for form in forms {
            let ours = format!("{form}:{}", path(&format!("{name}-{form}-ours")));
            home.copy(&[], &from, &ours);
            let read = format!("{name}-{form}-back");
            foreign(
                &home,
                "skopeo",
                &[
                    "copy",
                    "-q",
                    "--all",
                    "--preserve-digests",
                    &ours,
                    &format!("dir:{}", path(&read)),
                ],
            );
            let manifest = std::fs::read(home.path(&read).join("manifest.json")).unwrap();
            assert_eq!(sha256(&manifest), content.digest(), "{name} {form}");
        }
    }
    // Docker's archive: skopeo makes a manifest of its own, of the layers without compression.
    let from = format!("dir:{}", path("docker-seen"));
    let theirs = format!("docker-archive:{}", path("theirs.tar"));
    foreign(
        &home,
        "skopeo",
        &["copy", "-q", &from, &format!("{theirs}:app:v1")],
    );
    let to = home.layout("docker-read", "v");
    let digest = home.copy(&[], &format!("{theirs}:docker.io/library/app:v1"), &to);
    let layout = Layout::open(&home.path("docker-read"));
    let manifest: serde_json::Value =
        serde_json::from_slice(&layout.blob(&digest).unwrap()).unwrap();
    let layers: Vec<&str> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["digest"].as_str().unwrap())
        .collect();
    let made: Vec<&str> = docker
        .layers
        .iter()
        .map(|layer| layer.blob.digest.as_str())
        .collect();
    assert_eq!(layers, made);
    assert_eq!(manifest["config"]["digest"], docker.config.digest.as_str());
    let ours = format!("docker-archive:{}:app:v1", path("ours.tar"));
    home.copy(&[], &home.layout("single-made", "v"), &ours);
    let inspected = foreign(&home, "skopeo", &["inspect", "--config", &ours]);
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&single.config.bytes).unwrap();
    assert_eq!(inspected["rootfs"], config["rootfs"]);
    foreign(
        &home,
        "skopeo",
        &["copy", "-q", &ours, &format!("dir:{}", path("ours-read"))],
    );
}

#[test]
fn a_layout_that_umoci_made_is_read_from_its_tar() {
    if !has("umoci") {
        return skip("needs umoci");
    }
    let home = Home::new();
    let layout = home.path("made").display().to_string();
    let tag = format!("{layout}:v1");
    foreign(&home, "umoci", &["init", "--layout", &layout]);
    foreign(&home, "umoci", &["new", "--image", &tag]);
    let layer = home.path("layer.tar");
    std::fs::write(&layer, Tree::new().file("a", 0o644, "b").tar()).unwrap();
    let added = ["raw", "add-layer", "--image", &tag, layer.to_str().unwrap()];
    foreign(&home, "umoci", &added);
    let archive = home.path("made.tar").display().to_string();
    foreign(&home, "tar", &["-C", &layout, "-cf", &archive, "."]);
    let expected = Layout::open(&home.path("made")).tag("v1").unwrap();
    let to = home.layout("read", "v1");
    let from = format!("oci-archive:{archive}");
    assert_eq!(home.copy(&[], &format!("{from}:v1"), &to), expected);
    assert_eq!(
        home.copy(&[], &from, &to),
        expected,
        "the only one needs no name"
    );
}

fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// podman with storage of its own.
struct Podman<'a> {
    home: &'a Home,
    service: Option<Child>,
}

impl<'a> Podman<'a> {
    fn new(home: &'a Home) -> Option<Self> {
        (is_root() && has("podman")).then_some(Self {
            home,
            service: None,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut podman = command("podman", &self.home.path(""));
        podman
            .arg("--root")
            .arg(self.home.path("podman"))
            .arg("--runroot")
            .arg(self.home.path("podman-run"))
            .args(["--storage-driver", "vfs"])
            .args(arguments);
        podman.env("TMPDIR", self.home.path(""));
        podman
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments)).expect_code(0).stdout
    }

    /// Returns `NAME DIGEST` of every image.
    fn images(&self) -> Vec<String> {
        let format = "{{.Repository}}:{{.Tag}} {{.Digest}}";
        let listed = self.run(&["images", "--format", format]);
        listed.lines().map(str::to_owned).collect()
    }

    /// Starts the service that speaks Docker's API, and returns its address.
    fn serve(&mut self) -> String {
        let socket = self.home.path("podman.sock");
        let address = format!("unix://{}", socket.display());
        let child = self
            .command(&["system", "service", "--time", "0", &address])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.service = Some(child);
        let end = Instant::now() + Duration::from_secs(60);
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < end, "podman's service does not start");
            // It has no way to tell us, so we look again soon.
            std::thread::sleep(Duration::from_millis(10));
        }
        address
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            // The process may be gone already; waiting reaps it either way.
            drop(service.kill());
            drop(service.wait());
        }
    }
}

#[test]
fn what_podman_saves_we_read_and_podman_loads_ours() {
    let home = Home::new();
    let Some(podman) = Podman::new(&home) else {
        return skip("needs root and podman");
    };
    let image = ImageMaker::new()
        .layer(&Tree::new().file("a", 0o644, "b"), Packing::Gzip)
        .make();
    let from = home.made("made", "v", &image);
    for (form, name) in [
        ("docker-archive", "example.org/docker:v1"),
        ("oci-archive", "example.org/oci:v1"),
    ] {
        let archive = home.path(&format!("{form}.tar"));
        let to = format!("{form}:{}:{name}", archive.display());
        home.copy(&[], &from, &to);
        podman.run(&["load", "-q", "-i", archive.to_str().unwrap()]);
        // Both keep the manifest as it is: podman takes a docker archive that is a layout as a layout.
        assert!(
            podman
                .images()
                .contains(&format!("{name} {}", image.digest())),
            "{form}: {:?}",
            podman.images()
        );
        let saved = home.path(&format!("{form}-saved.tar"));
        let saved = saved.to_str().unwrap();
        podman.run(&["save", "-q", "--format", form, "-o", saved, name]);
        let read = format!("{form}-read");
        let digest = home.copy(
            &[],
            &format!("{form}:{saved}:{name}"),
            &home.layout(&read, "v"),
        );
        let manifest = Layout::open(&home.path(&read)).blob(&digest).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["config"]["digest"], image.config.digest.as_str());
    }
    let both = home.path("both.tar");
    let both = both.to_str().unwrap();
    podman.run(&[
        "save",
        "-q",
        "-m",
        "-o",
        both,
        "example.org/docker:v1",
        "example.org/oci:v1",
    ]);
    let listed = home
        .run(&["list-tags", &format!("docker-archive:{both}")])
        .expect_code(0);
    assert_eq!(listed.stdout, "example.org/docker:v1\nexample.org/oci:v1\n");
}

#[test]
fn images_go_into_an_engine_and_come_out_of_it() {
    let home = Home::new();
    let Some(mut podman) = Podman::new(&home) else {
        return skip("needs root and podman");
    };
    let engine = podman.serve();
    // podman's older releases save no layers in zstd.
    let gzip = |architecture| {
        let tree = Tree::new().file("platform", 0o644, architecture);
        let maker = ImageMaker::new().platform("linux", architecture, None);
        maker.layer(&tree, Packing::Gzip).make()
    };
    let index = Index::new(vec![gzip(host_architecture()), gzip("s390x")]);
    let registry = Registry::start();
    registry.add("many", "v", &index);
    let flags = ["--dest-daemon-host", &engine];
    // An engine gets what it can run.
    let here = &index.images()[0];
    let from = registry.reference("many", "v");
    let digest = home.copy(&flags, &from, "docker-daemon:example.org/app:v1");
    assert_eq!(digest, here.digest());
    let image = format!("example.org/app:v1 {digest}");
    assert!(podman.images().contains(&image), "{:?}", podman.images());
    let flags = [&flags[..], &["--additional-tag", "example.org/app:v3"]].concat();
    home.copy(&flags, &from, "docker-daemon:example.org/app:v2");
    let images = podman.images().join("\n");
    assert!(
        images.contains("app:v2") && images.contains("app:v3"),
        "{images}"
    );
    let from = "docker-daemon:example.org/app:v2";
    let back = home.copy(
        &["--src-daemon-host", &engine],
        from,
        &registry.reference("back", "v"),
    );
    let manifest = registry.manifest("back", "v").unwrap();
    assert_eq!(manifest.digest, back);
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
    assert_eq!(manifest["config"]["digest"], here.config.digest.as_str());
    let id = format!("docker-daemon:{}", here.config.digest);
    let by_id = home.copy(
        &["--src-daemon-host", &engine],
        &id,
        &registry.reference("id", "v"),
    );
    assert_eq!(by_id, back);
    // The environment says where the engine is, too.
    let mut inspect = home.command(&["inspect", "docker-daemon:example.org/app:v1"]);
    run(inspect.env("DOCKER_HOST", &engine)).expect_code(0);
    let nothing = home.fail(
        &["--src-daemon-host", &engine],
        "docker-daemon:example.org/nothing:v1",
        &registry.reference("x", "v"),
    );
    assert!(nothing.contains("example.org/nothing:v1"), "{nothing}");
}

/// An engine that answers `/_ping`, and then one request as it was told to.
struct FakeEngine {
    socket: PathBuf,
    thread: std::thread::JoinHandle<usize>,
}

impl FakeEngine {
    /// `early` answers before the body has been read.
    fn start(home: &Home, name: &str, answer: String, early: bool) -> Self {
        let socket = home.path(name);
        let listener = UnixListener::bind(&socket).unwrap();
        let thread = std::thread::spawn(move || {
            let mut taken = 0;
            for _ in 0..2 {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                // One connection at a time is served: the first ends with its answer, or the second would wait for its end.
                if let Some(head) = head(&mut reader) {
                    let mut stream = &stream;
                    if head.contains("/_ping") {
                        drop(stream.write_all(
                            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK",
                        ));
                        continue;
                    }
                    if head.starts_with("POST") && !early {
                        taken = chunks(&mut reader);
                    }
                    // Whoever gave up does not listen any more.
                    drop(stream.write_all(answer.as_bytes()));
                    return taken;
                }
            }
            taken
        });
        Self { socket, thread }
    }

    fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

/// Reads the head of a request; `None` at the end of the connection.
fn head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// Reads a body in chunks, and returns its length; 0 if it is broken off.
fn chunks(reader: &mut impl BufRead) -> usize {
    let mut total = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return 0;
        }
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        if reader.read_exact(&mut chunk).is_err() {
            return 0;
        }
        if size == 0 {
            return total;
        }
        total += size;
    }
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn an_engine_that_refuses_is_heard() {
    let home = Home::new();
    let image = ImageMaker::new()
        .tar_layer(&noise(4 << 20), Packing::Plain)
        .make();
    let from = home.made("made", "v", &image);
    let stream = "{\"status\":\"Loading\"}\r\n{\"errorDetail\":{\"message\":\"no space in engine\"},\"error\":\"no space in engine\"}\r\n";
    let cases = [
        (
            "late",
            answer("200 OK", stream),
            false,
            "no space in engine",
        ),
        (
            "early",
            answer("507 Full", r#"{"message": "go away"}"#),
            true,
            "go away",
        ),
    ];
    for (name, answer, early, word) in cases {
        let engine = FakeEngine::start(&home, name, answer, early);
        let flags = ["--dest-daemon-host", &engine.address()];
        let refused = home.fail(&flags, &from, "docker-daemon:app:v1");
        // A connection that breaks in the middle may swallow what the engine said.
        assert!(early || refused.contains(word), "{name}: {refused}");
        engine.thread.join().unwrap();
    }
    let engine = FakeEngine::start(
        &home,
        "good",
        answer("200 OK", "{\"stream\":\"Loaded\"}"),
        false,
    );
    let flags = ["--dest-daemon-host", &engine.address()];
    assert_eq!(
        home.copy(&flags, &from, "docker-daemon:app:v1"),
        image.digest()
    );
    assert!(
        engine.thread.join().unwrap() > 4 << 20,
        "all of it was sent"
    );

    let nobody = format!("unix://{}", home.path("nobody").display());
    let by_id = format!("docker-daemon:{}", image.config.digest);
    let table = [
        (nobody.as_str(), "docker-daemon:app:v1", "talked to"),
        ("ssh://somewhere", "docker-daemon:app:v1", "ssh://somewhere"),
        (nobody.as_str(), "docker-daemon:UPPER", "lower-case"),
        (nobody.as_str(), &by_id, "for reading only"),
    ];
    for (address, to, word) in table {
        let failed = home.run(&["--dest-daemon-host", address, &from, to]);
        assert_ne!(failed.code(), 0);
        assert!(failed.stderr.contains(word), "{}", failed.stderr);
    }
}

#[test]
fn a_copy_that_fails_does_not_end_the_archive_for_an_engine() {
    let home = Home::new();
    let image = ImageMaker::new()
        .tar_layer(&noise(2 << 20), Packing::Plain)
        .make();
    let from = home.made("made", "v", &image);
    let layout = Layout::open(&home.path("made"));
    damage(&layout.blob_path(&image.layers[0].blob.digest));
    let engine = FakeEngine::start(&home, "engine", answer("200 OK", "{}"), false);
    let flags = ["--dest-daemon-host", &engine.address()];
    let failed = home.fail(&flags, &from, "docker-daemon:app:v1");
    assert!(failed.contains(&image.layers[0].blob.digest), "{failed}");
    assert_eq!(engine.thread.join().unwrap(), 0, "the body was broken off");
}

fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_docker_archive_is_for_images_only() {
    let home = Home::new();
    let artifact = Blob::new(
        "application/vnd.oci.image.manifest.v1+json",
        br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.example","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#.to_vec(),
    );
    let registry = Registry::start();
    registry.add_blob("a", &Blob::new("application/vnd.example", b"{}".to_vec()));
    registry.add_manifest("a", "v", &artifact);
    let to = home.path("a.tar");
    let refused = home.fail(
        &[],
        &registry.reference("a", "v"),
        &format!("docker-archive:{}", to.display()),
    );
    assert!(refused.contains("it is no image"), "{refused}");
    assert!(!to.exists());
    // A layout's archive takes anything.
    let archive = format!("oci-archive:{}", home.path("b.tar").display());
    let digest = home.copy(&[], &registry.reference("a", "v"), &archive);
    assert_eq!(digest, artifact.digest);
    let back = Registry::start();
    home.copy(&[], &archive, &back.reference("b", "v"));
    assert_eq!(back.manifest("b", "v"), Some(artifact));
}

#[test]
fn conversion_writes_into_every_medium() {
    let home = Home::new();
    let image = ImageMaker::new()
        .tar_layer(&noise(300_000), Packing::Gzip)
        .tar_layer(
            &Tree::new().file("a", 0o644, "b".repeat(9000)).tar(),
            Packing::Plain,
        )
        .make();
    let from = home.made("made", "v", &image);
    let registry = Registry::start();
    let flags = ["--compress", "zstd"];
    let reference = home.copy(&flags, &from, &registry.reference("reference", "v"));
    for form in ["dir", "oci-archive", "docker-archive"] {
        let to = format!("{form}:{}", home.path(form).display());
        assert_eq!(home.copy(&flags, &from, &to), reference, "{form}");
        let back = registry.reference(form, "v");
        assert_eq!(home.copy(&[], &to, &back), reference, "{form}");
    }
    let piped = piped(
        &home,
        &["--compress", "zstd", "-q", &from, "oci-archive:-"],
        Stdio::null(),
        Stdio::piped(),
    );
    assert!(piped.status.success());
    std::fs::write(home.path("piped.tar"), &piped.stdout).unwrap();
    let back = Registry::start();
    let archive = format!("oci-archive:{}", home.path("piped.tar").display());
    assert_eq!(
        home.copy(&[], &archive, &back.reference("a", "v")),
        reference
    );
    assert_eq!(back.open_uploads(), 0);
}
