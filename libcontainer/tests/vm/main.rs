//! What only the virtual machine of `make test-vm` can show: cgroup v2 with all its controllers, checkpoints, AppArmor.

mod apparmor;
#[expect(dead_code, reason = "the ordinary tests use more of it")]
#[path = "../it/bed.rs"]
mod bed;
mod checkpoint;
#[path = "../it/sleeper.rs"]
mod sleeper;
mod v2;
