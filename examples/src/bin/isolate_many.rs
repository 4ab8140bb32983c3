//! Runs a shell command of a directory in ten containers at a time, from a program with one thread:
//! `isolate_many DIRECTORY COMMAND`. The command finds its number in `$NUMBER`.

use libcontainer::command::Command;
use std::io::Write;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [directory, script] = words.try_into().map_err(|_| "two arguments are needed")?;
    let mut containers = tokio::task::JoinSet::new();
    for number in 0..10 {
        let mut command = Command::new(&directory);
        command.args(["sh", "-c", &script]).env("NUMBER", number);
        containers.spawn(async move { command.output_async().await });
    }
    while let Some(output) = containers.join_next().await {
        std::io::stdout().write_all(&output??.stdout)?;
    }
    Ok(())
}
