//! The program under test, in a home of its own.

use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use trimaran_testkit::{Content, Layout, Outcome, Registry, command, run};

/// The built program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_trimaran-copy");
/// Our registries speak plain HTTP.
pub(crate) const PLAIN: [&str; 2] = ["--src-tls-verify=false", "--dest-tls-verify=false"];

/// A home directory without credentials, and with a policy that accepts everything.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Home {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join(".config/containers");
        std::fs::create_dir_all(&config).unwrap();
        let policy = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        std::fs::write(config.join("policy.json"), policy).unwrap();
        Home(home)
    }

    /// Returns a path in the home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Returns `oci:PATH:TAG` for a layout in the home.
    pub(crate) fn layout(&self, name: &str, tag: &str) -> String {
        format!("oci:{}:{tag}", self.path(name).display())
    }

    /// Makes a layout in the home that holds an image, and returns the reference.
    pub(crate) fn made(&self, name: &str, tag: &str, content: &dyn Content) -> String {
        Layout::create(&self.path(name)).add(tag, content);
        self.layout(name, tag)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(PROGRAM, self.0.path());
        command
            .args(arguments)
            .env("TRIMARAN_ROOT", self.path("root"));
        // Where credentials of the machine's own users would be looked for.
        command.env("XDG_RUNTIME_DIR", self.path("run"));
        command
    }

    /// Runs the tool.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.command(arguments))
    }

    /// Copies, and returns the digest printed.
    #[track_caller]
    pub(crate) fn copy(&self, flags: &[&str], from: &str, to: &str) -> String {
        let done = self
            .run(&[&PLAIN[..], flags, &[from, to]].concat())
            .expect_code(0);
        done.stdout.trim_end().to_owned()
    }

    /// Copies in vain, and returns the message.
    #[track_caller]
    pub(crate) fn fail(&self, flags: &[&str], from: &str, to: &str) -> String {
        let failed = self
            .run(&[&PLAIN[..], flags, &[from, to]].concat())
            .expect_code(125);
        assert!(failed.stderr.contains("Error: "), "{}", failed.stderr);
        assert_eq!(failed.stdout, "", "stdout carries results only");
        failed.stderr
    }
}

/// Asserts that a registry holds an image completely, byte for byte.
#[track_caller]
pub(crate) fn assert_holds(
    registry: &Registry,
    repository: &str,
    tag: &str,
    content: &dyn Content,
) {
    let manifest = registry
        .manifest(repository, tag)
        .expect("the tag is there");
    assert_eq!(&manifest, content.root(), "the manifest is another");
    for child in content.manifests() {
        assert_eq!(
            registry.manifest(repository, &child.digest).as_ref(),
            Some(child)
        );
    }
    for blob in content.blobs() {
        assert_eq!(
            registry.blob(repository, &blob.digest).as_ref(),
            Some(&blob.bytes)
        );
    }
}

/// Asserts that a layout holds an image completely, byte for byte.
#[track_caller]
pub(crate) fn assert_layout_holds(layout: &Layout, tag: &str, content: &dyn Content) {
    assert_eq!(layout.tag(tag).as_deref(), Some(content.digest()));
    for blob in content
        .blobs()
        .into_iter()
        .chain(content.manifests())
        .chain([content.root()])
    {
        assert_eq!(
            layout.blob(&blob.digest).as_ref(),
            Some(&blob.bytes),
            "{}",
            blob.media_type
        );
    }
}
