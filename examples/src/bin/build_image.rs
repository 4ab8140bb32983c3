//! Builds an image from Rust code: no Dockerfile, no daemon, no other program.
//!
//! `build_image STORE PROGRAM NAME` puts a static PROGRAM into an empty image of the store in the directory STORE.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use libbuild::{Base, Change, Commit, CopyFiles, Run, Session, SessionOptions, Streams};
use libimage::store::{IdMode, Store, StoreOptions};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, program, name] = arguments.as_slice() else {
        return Err("usage: build_image STORE PROGRAM NAME".into());
    };
    // Whoever owns the files of the store: root here; as an ordinary user, call `libbuild::rootless::enter` first.
    let options = StoreOptions {
        ids: IdMode::Full,
        privileged: true,
    };
    let store = Arc::new(Store::open(Path::new(store), &options)?);
    let session = Session::open(store.clone(), SessionOptions::new(store.path().join("run")))?;

    let container = session.from(Base::scratch())?;
    container.copy(CopyFiles::new("/", [program], "/bin/program").chmod(0o755))?;

    // A step: isolated like a container, its changes part of the image, its output ours.
    let step = Run::argv(["/bin/program", "--help"]).streams(Streams::Capture);
    let output = container.run(step)?;
    eprintln!(
        "the program can run: {:?}, {} bytes of help",
        output.status,
        output.stdout.len() + output.stderr.len()
    );

    container.config([
        Change::Entrypoint(vec!["/bin/program".into()]),
        Change::Label("org.opencontainers.image.title".into(), name.clone()),
    ])?;
    // The same program gives the same image, bit for bit, wherever and whenever this runs.
    let built = container.commit(Commit::named(name.parse()?))?;
    session.remove(&container)?;
    println!("{}", built.manifest_digest);
    Ok(())
}
