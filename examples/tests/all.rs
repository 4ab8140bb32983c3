//! The examples are short, and do what they say: as root, and as ordinary users with and without subordinate ids.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose material cannot be made has failed"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use trimaran_testkit::{Content, ImageMaker, Layout, User, command, is_root, run, skip};

/// An example that is longer is no example.
const LINES: usize = 60;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the directory cargo puts programs into.
fn programs() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// Returns a program of another package; cargo builds it here only when asked.
fn tool(name: &str) -> PathBuf {
    let path = programs().join(name);
    if !path.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let build = ["build", "--offline", "--locked", "-p", name];
        let built = Command::new(cargo)
            .args(build)
            .current_dir(package())
            .status()
            .unwrap();
        assert!(built.success(), "{name} cannot be built");
    }
    path
}

/// Whoever runs an example: root, or a user, with a home of its own that holds an image to work on.
struct Actor {
    user: Option<User>,
    home: TempDir,
}

impl Actor {
    /// Returns all who can act here; those who cannot are counted as skipped.
    fn all() -> Vec<Actor> {
        if ImageMaker::busybox().is_none() {
            skip("needs busybox-static");
            return Vec::new();
        }
        if !is_root() {
            return vec![Actor::new(None)];
        }
        let mut actors = vec![Actor::new(None)];
        for (user, name) in [
            (User::with_subids(), "trimaran-sub"),
            (User::without_subids(), "trimaran-nosub"),
        ] {
            match user {
                Some(user) => actors.push(Actor::new(Some(user))),
                None => skip(&format!("needs the user {name}")),
            }
        }
        actors
    }

    fn new(user: Option<User>) -> Actor {
        let home = user
            .as_ref()
            .map_or_else(|| tempfile::tempdir().unwrap(), User::tempdir);
        Actor { user, home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Makes the busybox image, readable for all, and returns its reference.
    fn image(&self) -> String {
        let image = ImageMaker::busybox().unwrap().make();
        assert!(image.digest().starts_with("sha256:"));
        let layout = self.path("busybox");
        Layout::create(&layout).add("1", &image);
        format!("oci:{}:1", layout.display())
    }

    fn command(&self, program: &Path, env: &[(&str, &str)]) -> Command {
        match &self.user {
            Some(user) => user.command(
                user.reachable(program, self.home.path()),
                self.home.path(),
                env,
            ),
            None => {
                let mut command = command(program, self.home.path());
                command.envs(env.iter().copied());
                command
            }
        }
    }
}

#[test]
fn each_is_short() {
    for entry in std::fs::read_dir(package().join("src/bin")).unwrap() {
        let path = entry.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < LINES, "{}: {lines} lines", path.display());
    }
}

#[test]
fn an_image_is_pulled_unpacked_and_run() {
    for actor in Actor::all() {
        let (image, store) = (actor.image(), actor.path("store"));
        let program = programs().join("pull_unpack_run");
        let example = |arguments: &[&str]| {
            let mut command = actor.command(&program, &[]);
            run(command.arg(&store).arg(&image).args(arguments))
        };
        let said =
            example(&["sh", "-c", "id -u; cat /etc/hostname; echo error >&2"]).expect_code(0);
        assert_eq!(said.stdout.lines().next(), Some("0"), "{:?}", actor.user);
        assert!(said.stderr.contains("error"));
        example(&["sh", "-c", "exit 7"]).expect_code(7);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(
            !mounts.contains(actor.home.path().to_str().unwrap()),
            "a mount is left"
        );
    }
}

#[test]
fn an_image_is_built_from_rust() {
    if !is_root() {
        return skip("the example is for root");
    }
    let Some(actor) = Actor::all().into_iter().next() else {
        return;
    };
    let build = |store: &str| {
        let mut command = actor.command(&programs().join("build_image"), &[]);
        command
            .arg(actor.path(store))
            .args(["/bin/busybox", "localhost/example:1"]);
        run(&mut command).expect_code(0).stdout
    };
    let digest = build("one");
    assert!(digest.starts_with("sha256:"), "{digest}");
    assert_eq!(digest, build("one"), "the same again");
    assert_eq!(digest, build("two"), "the same in another store");
    let manifest = Layout::open(&actor.path("one"))
        .blob(digest.trim())
        .expect("the store is an OCI layout");
    assert!(
        String::from_utf8(manifest)
            .unwrap()
            .contains("application/vnd.oci.image.manifest.v1+json")
    );
}

#[test]
fn an_image_is_built_by_a_shell_script() {
    let build = tool("trimaran-build");
    for actor in Actor::all() {
        let image = actor.image();
        let script = actor.path("hello.sh");
        trimaran_testkit::copy_program(package().join("scripts/hello.sh"), &script);
        let build = match &actor.user {
            Some(user) => user.reachable(&build, actor.home.path()),
            None => build.clone(),
        };
        let root = actor.path("root");
        let env = [
            ("BUILD", build.to_str().unwrap()),
            ("TRIMARAN_ROOT", root.to_str().unwrap()),
        ];
        let once = || {
            let mut command = actor.command(Path::new("/bin/sh"), &env);
            run(command.arg(&script).args([&image, "localhost/hello:1"]))
                .expect_code(0)
                .stdout
        };
        let first = once();
        assert!(first.contains("sha256:"), "{first}");
        assert_eq!(
            first,
            once(),
            "the second image has the digest of the first: {:?}",
            actor.user
        );
        let left = run(actor.command(&build, &env).arg("containers")).expect_code(0);
        assert!(
            left.stdout.lines().count() <= 1,
            "a working container is left: {}",
            left.stdout
        );
    }
}

#[test]
fn programs_are_isolated_by_anybody() {
    for actor in Actor::all() {
        let root = actor.path("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        for name in ["busybox", "sh", "echo", "touch", "ls"] {
            trimaran_testkit::copy_program("/bin/busybox", root.join("bin").join(name));
        }
        let example = |name: &str, arguments: &[&str]| {
            let mut command = actor.command(&programs().join(name), &[]);
            run(command.arg(&root).args(arguments))
        };
        let script = "touch /made; ls /; exit 3";
        let said = example("isolate", &["sh", "-c", script]).expect_code(3);
        assert!(said.stdout.contains("made"), "{said:?}");
        assert!(!root.join("made").exists());
        let said = example("isolate_many", &["echo number $NUMBER"]).expect_code(0);
        let mut lines: Vec<_> = said.stdout.lines().collect();
        lines.sort_unstable();
        let wanted: Vec<_> = (0..10).map(|number| format!("number {number}")).collect();
        assert_eq!(lines, wanted);
    }
}
