//! Pulls an image, unpacks it and runs a command in it, from a threaded tokio program: `pull_unpack_run STORE IMAGE COMMAND…`.

use libcontainer::engine::{Engine, user_files};
use libcontainer::runtime::{CreateOptions, Runtime, Stdio};
use libcontainer::spec::{HostFacts, RunOptions, from_image};
use libcontainer::{ExitStatus, bundle::Bundle, idmap::IdMaps, rootless};
use libimage::store::{IdMode, Image, Store, StoreOptions};
use libimage::{config::Policy, context::Context, name::ImageRef, pull, view};
use std::{error::Error, path::Path, process::ExitCode, sync::Arc};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [store, image, command @ ..] = words.as_slice() else {
        return Err("usage: pull_unpack_run STORE IMAGE COMMAND...".into());
    };
    let (facts, mut ids) = (rootless::facts()?, IdMode::Full);
    if facts.must_enter() {
        // An ordinary user, with no id but its own (`plan_maps` finds more): before there are threads.
        rootless::enter(&IdMaps::single(facts.uid, facts.gid), &Default::default())?;
        ids = IdMode::Single;
    }
    let privileged = !facts.is_rootless();
    let store = Arc::new(Store::open(
        Path::new(store),
        &StoreOptions { ids, privileged },
    )?);
    let job = job(store, ImageRef::parse_or_bare(image)?, command.to_vec());
    let status = tokio::runtime::Runtime::new()?.block_on(job)?;
    Ok(ExitCode::from(status.shell_code()))
}

async fn job(store: Arc<Store>, image: ImageRef, command: Vec<String>) -> Result<ExitStatus> {
    let context = Context::builder(Policy::accept_anything()).build();
    let image = pull::pull(&context, &image, store.clone(), &Default::default()).await?;
    // Starting a container blocks; it is sound in any thread of a threaded program.
    tokio::task::spawn_blocking(move || run(&store, &image, command)).await?
}

fn run(store: &Store, image: &Image, args: Vec<String>) -> Result<ExitStatus> {
    // Dropping the view lets the layers go; dropping the container removes all that it made.
    let view = view::root(store, image)?;
    let container = Engine::open(store.path())?.begin(None)?;
    let root = container.prepare_root(&view.lowers, view.userxattr)?;
    let mut options = RunOptions {
        args,
        ..Default::default()
    };
    options.host = HostFacts::detect()?;
    let spec = from_image(image.config(), &options, &user_files(&root)?)?;
    let (stdio, runtime) = (Stdio::Inherit, Runtime::builder().build()?);
    let create = CreateOptions {
        stdio,
        ..Default::default()
    };
    let plan = runtime.plan(container.id(), &Bundle::from_spec(spec, root), create)?;
    Ok(runtime.run(plan)?.wait()?)
}
