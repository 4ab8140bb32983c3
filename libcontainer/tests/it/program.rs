//! What is executed, as whom, and how it ends.

use libcontainer::{ErrorKind, ExitStatus, Signal};

use crate::bed::Bed;

#[test]
fn exit_codes_and_signals_come_through() {
    let Some(bed) = Bed::new() else { return };
    for (command, wanted) in [
        ("exit 0", ExitStatus::Exited(0)),
        ("exit 7", ExitStatus::Exited(7)),
        ("exit 255", ExitStatus::Exited(255)),
        (
            "kill -TERM $$; sleep 9 & kill -KILL $!; wait $!; exit $?",
            ExitStatus::Exited(137),
        ),
    ] {
        assert_eq!(
            bed.run(bed.shell(command)).unwrap().status,
            wanted,
            "{command}"
        );
    }
}
