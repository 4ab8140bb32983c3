//! Waiting in a tokio program of a single thread.

use std::time::Duration;

use libcontainer::command::{Command, Stdio};
use libcontainer::runtime::CreateOptions;
use libcontainer::{ExitStatus, Signal};

use crate::bed::{Bed, id};

/// Runs it on a runtime with one thread, which a call that blocks would stop.
fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(work)
}

#[test]
fn a_wait_blocks_no_worker() {
    let Some(bed) = Bed::new() else { return };
    on_one_thread(async {
        let plan = |name| {
            let bundle = bed.bundle(bed.shell("sleep 100"));
            let plan = bed
                .runtime
                .plan(&id(name), &bundle, CreateOptions::default());
            plan.expect("the plan is good")
        };
        let process = bed.runtime.run_async(plan("one")).await.expect("it runs");
        // Nobody could kill it if waiting took the only thread.
        let kill = async {
            tokio::task::yield_now().await;
            process.kill(Signal::KILL).expect("it runs");
        };
        let (both, ()) = tokio::join!(
            async { tokio::join!(process.wait_async(), process.wait_async()) },
            kill
        );
        let killed = ExitStatus::Signaled(Signal::KILL);
        assert_eq!((both.0.ok(), both.1.ok()), (Some(killed), Some(killed)));

        let mut container = bed.runtime.create_async(plan("two")).await.expect("made");
        container.start().expect("it starts");
        let init = container.init().expect("it runs");
        let waited = tokio::time::timeout(Duration::from_millis(20), init.wait_async()).await;
        assert!(waited.is_err(), "it sleeps");
        container.delete(true).expect("it can be deleted");
    });
}

#[test]
fn commands_run_side_by_side_on_one_thread() {
    let Some(bed) = Bed::new() else { return };
    let root = bed.root();
    let shell = |script: &str| {
        let mut command = Command::new(&root);
        command.args(["sh", "-c", script]);
        command
    };
    on_one_thread(async {
        let (read, write) = std::io::pipe().expect("a pipe");
        // The first waits for what the second writes.
        let (mut first, mut second) = (shell("cat; echo end >&2; exit 3"), shell("echo through"));
        first.stdin(read);
        second.stdout(write);
        let (first, second) = tokio::join!(first.output_async(), async move {
            let ended = second
                .spawn_async()
                .await
                .expect("it runs")
                .wait_async()
                .await;
            drop(second);
            ended
        });
        assert_eq!(second.ok(), Some(ExitStatus::Exited(0)));
        let first = first.expect("it runs");
        assert_eq!(first.status, ExitStatus::Exited(3));
        assert_eq!(
            (first.stdout, first.stderr),
            (b"through\n".to_vec(), b"end\n".to_vec())
        );

        // Giving up ends the container.
        let child = shell("sleep 100")
            .stdout(Stdio::piped())
            .spawn_async()
            .await
            .expect("it runs");
        let process = std::path::PathBuf::from(format!("/proc/{}", child.id()));
        let limit = Duration::from_millis(20);
        let output = tokio::time::timeout(limit, child.wait_with_output_async()).await;
        assert!(output.is_err() && !process.exists());
    });
}
