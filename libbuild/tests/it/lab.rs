//! What the tests build with: a store of its own, filled with images made on the spot.

use libbuild::{
    Base, Built, Commit, Run, RunOutput, Session, SessionOptions, Streams, WorkingContainer,
};
use libimage::store::{IdMode, Store, StoreOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trimaran_testkit::{Content, Image, ImageMaker, Packing, Tree, is_root, skip};

/// A store, a session, and a directory for sources.
pub(crate) struct Lab {
    pub(crate) session: Session,
    pub(crate) store: Arc<Store>,
    directory: tempfile::TempDir,
}

impl Lab {
    /// A lab with a busybox image called `localhost/busybox:1`; `None` (and a counted skip) where that cannot be.
    pub(crate) fn with_busybox() -> Option<Lab> {
        let lab = Lab::empty()?;
        let Some(maker) = ImageMaker::busybox() else {
            skip("needs busybox-static");
            return None;
        };
        lab.put("localhost/busybox:1", &maker.make());
        Some(lab)
    }

    /// A lab without any image; `None` (and a counted skip) for an ordinary user.
    pub(crate) fn empty() -> Option<Lab> {
        if !is_root() {
            skip("needs root: the tests of the tool do it as an ordinary user");
            return None;
        }
        // Overlay does not accept every file system as upper; where tests usually run, /var/tmp is a real one.
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let options = StoreOptions {
            ids: IdMode::Full,
            privileged: true,
        };
        let store = Arc::new(Store::open(&directory.path().join("store"), &options).unwrap());
        let session = Session::open(
            store.clone(),
            SessionOptions::new(directory.path().join("state")),
        )
        .unwrap();
        Some(Lab {
            session,
            store,
            directory,
        })
    }

    /// Puts an image into the store.
    pub(crate) fn put(&self, name: &str, image: &Image) {
        for blob in image.blobs() {
            let mut upload = self.store.upload().unwrap();
            upload.write_all(&blob.bytes).unwrap();
            upload.finish(None).unwrap();
        }
        self.store
            .publish(&image.root().bytes, &[name.parse().unwrap()])
            .unwrap();
    }

    /// A directory for sources.
    pub(crate) fn sources(&self) -> PathBuf {
        let path = self.directory.path().join("sources");
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A working container on the busybox image.
    pub(crate) fn container(&self) -> WorkingContainer {
        self.session
            .from(Base::image("localhost/busybox:1"))
            .unwrap()
    }

    /// Commits under a name.
    pub(crate) fn commit(&self, container: &WorkingContainer, name: &str) -> Built {
        container
            .commit(Commit::named(name.parse().unwrap()))
            .unwrap()
    }

    /// Runs a line in a fresh container of an image and returns what it printed.
    pub(crate) fn look(&self, image: &str, line: &str) -> String {
        let container = self.session.from(Base::image(image)).unwrap();
        let text = sh(&container, line);
        self.session.remove(&container).unwrap();
        text
    }
}

/// Runs a step and returns it all.
pub(crate) fn run(container: &WorkingContainer, run: Run) -> RunOutput {
    container.run(run.streams(Streams::Capture)).unwrap()
}

/// Runs a line that succeeds, and returns what it printed.
#[track_caller]
pub(crate) fn sh(container: &WorkingContainer, line: &str) -> String {
    let output = run(container, Run::sh(line));
    let (stdout, stderr) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{line}: {:?}\n{stdout}{stderr}",
        output.status
    );
    stdout
}

/// Writes a file and the directories above it.
pub(crate) fn write(directory: &Path, name: &str, content: &str) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// A base without a shell: two layers, the upper one with a whiteout.
pub(crate) fn plain_image() -> Image {
    let below = Tree::new()
        .dir("etc", 0o755)
        .file("etc/a", 0o644, "a")
        .file("etc/b", 0o644, "b");
    let above = Tree::new()
        .dir("etc", 0o755)
        .whiteout("etc/b")
        .file("etc/c", 0o600, "c");
    ImageMaker::new()
        .layer(&below, Packing::Gzip)
        .layer(&above, Packing::Zstd)
        .make()
}
